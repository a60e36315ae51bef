"""The user's own images: one sub-folder a class, in path/train and path/test or in path with a stated split."""

import os
from pathlib import Path

import numpy as np
import torch

from ddpipe.datasets.readers.images import SUFFIXES, decode, encoded
from ddpipe.datasets.source import Part, Source, split
from ddpipe.errors import UserError
from ddpipe.settings import Dataset


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
    classes = class_names(f"{where}.path", root)
    provenance = {"reader": "folder", "path": settings.path, "resolution": settings.resolution}
    if test.is_dir():
        if settings.test_fraction is not None:
            raise UserError(
                f"{where}.test_fraction: {test} exists, so there is nothing to split; leave test_fraction out"
            )
        if unknown := sorted(set(class_names(f"{where}.path", test)) - set(classes)):
            raise UserError(f"{where}.path: class {unknown[0]!r} of {test} has no folder in {train}; add it there")
        first, second = (read_part(name, settings, part, classes) for part in (train, test))
        return Source(first, second, classes, provenance)
    if settings.test_fraction is None:
        raise UserError(f"{where}.test_fraction: {path} has no folder test; add one, or set the fraction to set aside")
    halves = split(name, read_part(name, settings, root, classes), settings.test_fraction)
    return Source(*halves, classes, provenance | {"test_fraction": settings.test_fraction})


def class_names(where: str, root: Path) -> tuple[str, ...]:
    """Names of the sub-folders of `root`, sorted; hidden ones are no classes."""
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise UserError(f"{where}: {root} has no sub-folders; put the images of each class into a folder of its own")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            told = f"{os.fsencode(root / name)!r}"[2:-1]
            raise UserError(
                f"{where}: the name of the folder {told} is no text in UTF-8; rename it, or, if it is, run in a locale "
                "of UTF-8 (LC_ALL=C.UTF-8)"
            ) from None
    return tuple(names)


def read_part(name: str, settings: Dataset, root: Path, classes: tuple[str, ...]) -> Part:
    """All images below `root`, class by class."""
    files: list[Path] = []
    labels: list[int] = []
    for label, class_name in enumerate(classes):
        found = image_files(f"datasets.{name}.path", root / class_name)
        files += found
        labels += [label] * len(found)

    def read_one(row: int) -> np.ndarray:
        return decode(files[row], files[row], settings.grey, settings.resolution)

    mend = "set resolution to the side they shall be resized to"
    return encoded(torch.tensor(labels), read_one, lambda row: files[row], f"datasets.{name}.resolution", mend)


def image_files(where: str, folder: Path) -> list[Path]:
    """The images of one class, sorted by name."""
    entries = folder.iterdir() if folder.is_dir() else ()
    paths = sorted(path for path in entries if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    if not paths:
        raise UserError(
            f"{where}: {folder} has no images ({' '.join(sorted(SUFFIXES))}); add some, or remove the class everywhere"
        )
    return paths
