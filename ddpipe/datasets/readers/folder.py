"""The user's own images: one sub-folder a class, in path/train and path/test or in path with a stated split."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ddpipe.datasets.source import Source, split
from ddpipe.errors import UserError
from ddpipe.progress import Progress
from ddpipe.settings import Dataset

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}


def read(name: str, settings: Dataset, raw: Path) -> Source:
    """Images of every class folder in the order of their names, as RGB or (grey: true) as one channel.

    path/train and path/test are used when they exist; otherwise `test_fraction` of each class is set aside.
    Transparency is ignored, of an animation the first picture is taken, and EXIF orientation is not applied.
    `resolution` cuts the largest centred square out of an image and resizes it (bicubic, with antialiasing).
    """
    assert settings.path is not None
    path, where = Path(settings.path), f"datasets.{name}"
    if not path.is_dir():
        raise UserError(
            f"{where}.path: {path} is not a folder; name one that has a sub-folder of images for each class"
        )
    train, test = path / "train", path / "test"
    if test.is_dir() and not train.is_dir():
        raise UserError(f"{where}.path: {path} has a folder test but no folder train; add it")
    root = train if train.is_dir() else path
    classes = class_names(where, root)
    provenance = {"reader": "folder", "path": settings.path, "resolution": settings.resolution}
    if test.is_dir():
        if settings.test_fraction is not None:
            raise UserError(
                f"{where}.test_fraction: {test} exists, so there is nothing to split; leave test_fraction out"
            )
        if unknown := sorted(set(class_names(where, test)) - set(classes)):
            raise UserError(f"{where}.path: class {unknown[0]!r} of {test} has no folder in {train}; add it there")
        parts = (*read_part(name, settings, train, classes), *read_part(name, settings, test, classes))
        return Source(*parts, classes, provenance)
    if settings.test_fraction is None:
        raise UserError(f"{where}.test_fraction: {path} has no folder test; add one, or set the fraction to set aside")
    parts = split(name, *read_part(name, settings, root, classes), settings.test_fraction)
    return Source(*parts, classes, provenance | {"test_fraction": settings.test_fraction})


def class_names(where: str, root: Path) -> tuple[str, ...]:
    """Names of the sub-folders of `root`, sorted; hidden ones are no classes."""
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise UserError(
            f"{where}.path: {root} has no sub-folders; put the images of each class into a folder of its own"
        )
    return tuple(names)


def read_part(name: str, settings: Dataset, root: Path, classes: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """All images below `root`, uint8 (n, c, h, w), and their labels (n,), class by class."""
    files: list[tuple[Path, int]] = []
    for label, class_name in enumerate(classes):
        folder = root / class_name
        entries = folder.iterdir() if folder.is_dir() else ()
        paths = sorted(path for path in entries if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
        if not paths:
            raise UserError(
                f"datasets.{name}.path: {folder} has no images ({' '.join(sorted(SUFFIXES))}); add some, or remove the "
                "class everywhere"
            )
        files += [(path, label) for path in paths]
    arrays: list[np.ndarray] = []
    with Progress(f"reading {root}", len(files)) as progress:
        for path, _ in files:
            array = read_image(path, settings.grey, settings.resolution)
            if arrays and array.shape != arrays[0].shape:
                sizes = [f"{p} is {a.shape[1]}x{a.shape[0]}" for p, a in ((path, array), (files[0][0], arrays[0]))]
                raise UserError(
                    f"datasets.{name}.resolution: all images must have one size, but {' and '.join(sizes)} (width x "
                    "height); set resolution to the side they shall be resized to"
                )
            arrays.append(array)
            progress.advance()
    images = torch.from_numpy(np.stack(arrays))  # (n, h, w, c)
    return images.permute(0, 3, 1, 2).contiguous(), torch.tensor([label for _, label in files])


def read_image(path: Path, grey: bool, resolution: int | None) -> np.ndarray:
    """One image, uint8 (h, w, c)."""
    try:
        with Image.open(path) as file:
            mode, image = file.mode, file.convert("L" if grey else "RGB")
    except Exception as error:  # Pillow's decoders raise whatever their parsing runs into
        raise UserError(f"{path} is not a readable image ({error}); replace or remove it") from error
    if mode.startswith(("I", "F")):  # Pillow would cut their values off at 255
        raise UserError(f"{path} has more than 8 bits a channel; save it with 8 bits")
    if resolution is not None:
        image = ImageOps.fit(image, (resolution, resolution), Image.Resampling.BICUBIC)
    array = np.asarray(image)
    return array[:, :, None] if grey else array
