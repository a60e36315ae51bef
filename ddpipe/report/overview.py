"""What a dataset looks like once it is prepared: images of each class and part, and a picture of some, with names."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddpipe.files.artifacts import new_folder, read_tensors, write_bytes, write_text
from ddpipe.report.pictures import SHOWN, image_grid

LISTED = 20  # classes


def overview(about: dict[str, Any], prepared: Path, notes: Iterable[str]) -> str:
    """Lines for people.

    Args:
        about: what the data.json of the folder `prepared` says.
        notes: of the survey of the files.
    """
    tensors, _ = read_tensors(prepared / "data.safetensors")
    classes, images = about["classes"], about["images"]
    counts = [torch.bincount(tensors[f"{part}_labels"], minlength=len(classes)).tolist() for part in ("train", "test")]
    shape = "x".join(map(str, about["shape"]))
    parts = f"{images['train']} training and {images['test']} test images"
    lines = [f"{about['name']}: {parts} of {shape}, {len(classes)} classes"]
    rows = list(zip(classes, *counts, strict=True))
    if len(rows) > LISTED:
        for part, found in zip(("training", "test"), counts, strict=True):
            low, high = (found.index(extreme(found)) for extreme in (min, max))
            lines.append(f"  {part}: {found[low]} ({classes[low]}) to {found[high]} ({classes[high]}) images a class")
    else:
        width = max(map(len, classes))
        lines += [f"  {word:<{width}}  {train:>6} training  {test:>6} test" for word, train, test in rows]
    return "\n".join([*lines, *(f"  {note}" for note in notes)])


def write(folder: Path, text: str, about: dict[str, Any], prepared: Path) -> None:
    """overview.txt and samples.png: of every class some training images, evenly spaced."""
    tensors, _ = read_tensors(prepared / "data.safetensors")
    images, labels = tensors["train_images"], tensors["train_labels"]
    count = min(SHOWN, int(torch.bincount(labels).min()))
    with new_folder(folder) as new:
        write_text(new / "overview.txt", text + "\n")
        chosen = torch.cat([spaced((labels == label).nonzero().flatten(), count) for label in range(LISTED)])
        write_bytes(new / "samples.png", image_grid(images[chosen].float().div(255).numpy(), count, about["classes"]))


def spaced(rows: Tensor, count: int) -> Tensor:
    """`count` of the numbers (n,), evenly spaced; none where there are none."""
    return rows[torch.arange(count) * len(rows) // count] if len(rows) else rows
