"""A distilled set for programs that know nothing of ddpipe: PNGs by class and one npz without pickles."""

import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from ddpipe.artifacts import new_folder, write_bytes
from ddpipe.distilled import load
from ddpipe.errors import UserError


def export(folder: Path, out: Path, number: int = 0) -> str:
    """Write set `number` of the distilled `folder` to `out`; returns a sentence about it.

    `out/<class>/<i>.png` are the images as they look, greyscale or RGB, i counting the whole set, under the class of
    the largest target. `out/set.npz` has images (V, c, h, w) float32 in the pixel space of the run, pixels
    (V, h, w, c) uint8, targets (V, K) float32 and classes (K,), and what the method wants its users to know: `hint_lr`
    is the step size learned with the set.

    Raises:
        UserError: when `out` exists, or the set is missing or damaged.
    """
    if out.exists():
        raise UserError(f"{out} exists; name a new folder or remove it")
    chosen = load(folder, number)
    pixels = (chosen.pixels() * 255).round().byte().permute(0, 2, 3, 1).numpy()  # V h w c
    labels = chosen.targets.argmax(1).tolist()
    names = folder_names(chosen.classes)
    with new_folder(out) as new:
        for row, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            stream = io.BytesIO()
            Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(stream, "PNG")
            write_bytes(new / names[label] / f"{row}.png", stream.getvalue())
        stream = io.BytesIO()
        arrays = {"images": chosen.images.numpy(), "pixels": pixels, "targets": chosen.targets.numpy()}
        arrays |= {f"hint_{name}": value.numpy() for name, value in chosen.hints.items()}
        np.savez_compressed(stream, classes=np.array(chosen.classes), **arrays)  # type: ignore[arg-type]
        write_bytes(new / "set.npz", stream.getvalue())
    free = chosen.preprocessing.invert(chosen.images)
    return (
        f"{out}: {len(pixels)} PNGs and set.npz. The PNGs are clamped to 0..1 and rounded to 8 bits (the values of the "
        f"set reach from {free.min():.2f} to {free.max():.2f}): train on `images` of set.npz and test on images "
        "preprocessed like them"
    )


def folder_names(classes: tuple[str, ...]) -> list[str]:
    """Class names as names of folders, all different: what a file system may refuse becomes _."""
    names = [re.sub(r"[^\w.+-]", "_", name).lstrip(".") or "_" for name in classes]
    return [f"{name}_{i}" if names.count(name) > 1 else name for i, name in enumerate(names)]
