"""The distilled set: what distillation leaves, what evaluation trains on, what users load.

A folder holds `distilled.json` (method, resolved settings, budget, preprocessing, class names), `<number>.safetensors`
for every set and, for whitened data, `preprocessing.safetensors`. Sets of chosen real images are row numbers into the
prepared data (with its checksum), never copies. Nothing in the folder depends on time or machine: its bytes repeat.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from ddpipe.artifacts import mend, read_json, read_tensors, write_json, write_tensors
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.preprocessing import Preprocessing
from ddpipe.errors import UserError


@dataclass(frozen=True)
class DistilledSet(Dataset):
    """V examples in the pixel space they were learned in; test images must go through `preprocessing` too.

    `set[i]` is (image (c, h, w), target (K,)). `hints` are what a method wants its users to know (nothing for images
    with fixed labels); `info` is distilled.json. Examples of a factorised set are decoded already, each base in each of
    its styles; published accuracies train on one random style of each base a pass.
    """

    images: Tensor  # (V, c, h, w) float32
    targets: Tensor  # (V, K) distribution; one-hot for hard labels
    loss: Tensor  # (iterations,) loss history; empty for chosen images
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    hints: dict[str, Tensor]
    info: dict[str, Any]
    contents: Tensor | None = None  # (V,) the base behind each example, where examples share one (ddpipe.styles)
    codes: dict[str, Tensor] = field(default_factory=dict)  # what the examples were made of

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.targets[index]

    def pixels(self) -> Tensor:
        """(V, c, h, w) in [0, 1]: the images as they look, preprocessing undone and clamped."""
        return self.preprocessing.invert(self.images).clamp(0, 1)


def write(folder: Path, info: dict[str, Any], preprocessing: Preprocessing, sets: list[dict[str, Tensor]]) -> None:
    """Write a distilled folder.

    Args:
        info: JSON values; `preprocessing` is added.
        sets: per set either `images` (V, c, h, w) and `targets` (V, K), with `loss` and `hint.<name>` and, where it is
            factorised, `contents` (V,) and `code.<name>`; or `rows` (V,).
    """
    if tensors := preprocessing.tensors():
        write_tensors(folder / "preprocessing.safetensors", tensors)
    for number, tensors in enumerate(sets):
        write_tensors(folder / f"{number}.safetensors", tensors)
    write_json(folder / "distilled.json", info | {"preprocessing": preprocessing.to_json(), "sets": len(sets)})


def read(folder: Path, number: int) -> tuple[dict[str, Any], Preprocessing, dict[str, Tensor]]:
    """(info, preprocessing, tensors) of one set, as they were written."""
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; {mend(folder / 'distilled.json')}")
    info = read_json(folder / "distilled.json")
    if not (
        isinstance(info, dict) and info.keys() >= {"sets", "cell", "data", "data_checksum", "classes", "preprocessing"}
    ):
        raise UserError(f"{folder / 'distilled.json'} does not describe a distilled set; {mend(folder / 'x')}")
    if not 0 <= number < info["sets"]:
        raise UserError(f"{folder} holds sets 0 to {info['sets'] - 1}, not {number}")
    extra = folder / "preprocessing.safetensors"
    preprocessing = Preprocessing.from_parts(info["preprocessing"], read_tensors(extra)[0] if extra.exists() else {})
    tensors = read_tensors(folder / f"{number}.safetensors")[0]
    if not (tensors.keys() >= {"images", "targets"} or tensors.keys() >= {"rows"}):
        raise UserError(f"{folder / f'{number}.safetensors'} is no distilled set; {mend(folder / 'x')}")
    return info, preprocessing, tensors


def load(path: str | Path, number: int = 0, prepared: str | Path | None = None) -> DistilledSet:
    """Load set `number` of a distilled folder, e.g. `ddpipe.load("data/distilled/dm-digits-10")`.

    Args:
        path: the folder of a cell.
        number: which of its sets.
        prepared: the prepared data, needed for sets of chosen real images; left out, it is looked for beside the
            folder, in ../../prepared/<data>.

    Raises:
        UserError: when a file is missing or damaged, or the prepared data is not what the set was chosen from.
    """
    folder = Path(path)
    info, preprocessing, tensors = read(folder, number)
    if "rows" in tensors:
        source = Path(prepared) if prepared else folder.resolve().parent.parent / "prepared" / info["data"]
        data = Prepared.load(source)
        check_same_data(info, data, folder)
        rows = tensors["rows"]
        tensors = tensors | {
            "images": preprocessing.apply(data.train_images[rows]),
            "targets": F.one_hot(data.train_labels[rows], len(data.classes)).float(),
        }

    def named(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    return DistilledSet(
        tensors["images"],
        tensors["targets"],
        tensors.get("loss", torch.zeros(0)),
        tuple(info["classes"]),
        preprocessing,
        named("hint."),
        info,
        tensors.get("contents"),
        named("code."),
    )


def check_same_data(info: dict[str, Any], data: Prepared, folder: Path) -> None:
    """Training on one preprocessing and testing on another is the field's most frequent mistake: refused."""
    if info["data_checksum"] != data.checksum:
        raise UserError(
            f"{folder} was made from other images or another preprocessing than data/prepared/{data.name}; "
            f"run `dvc repro distill@{info['cell']}`"
        )
