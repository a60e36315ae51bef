"""The user's own images: one sub-folder a class, in path/train and path/test or in path with a stated split."""

from pathlib import Path

import numpy as np
import torch

from ddpipe.datasets.folders import folders
from ddpipe.datasets.readers.images import decode, encoded
from ddpipe.datasets.source import Part, Source, split
from ddpipe.settings import Dataset


def read(name: str, settings: Dataset, raw: Path) -> Source:
    """Images of every class folder in the order of their names, as RGB or (grey: true) as one channel.

    `folders` says which they are, `shown` how each is read. `resolution` cuts the largest centred square out of an
    image and resizes it (bicubic, with antialiasing).
    """
    assert settings.path is not None
    found = folders(settings.table, name, Path(settings.path), settings.test_fraction)
    provenance = {"reader": "folder", "path": settings.path, "resolution": settings.resolution}
    first = part(name, settings, found.train)
    if found.test is not None:
        return Source(first, part(name, settings, found.test), found.classes, provenance)
    assert settings.test_fraction is not None
    halves = split(f"{settings.table}.{name}", name, first, settings.test_fraction, found.classes)
    return Source(*halves, found.classes, provenance | {"test_fraction": settings.test_fraction})


def part(name: str, settings: Dataset, images: list[tuple[Path, int]]) -> Part:
    def read_one(row: int) -> np.ndarray:
        return decode(images[row][0], images[row][0], settings.grey, settings.resolution)

    labels, mend = torch.tensor([label for _, label in images]), "set resolution to the side they shall be resized to"
    return encoded(labels, read_one, lambda row: images[row][0], f"{settings.table}.{name}.resolution", mend)
