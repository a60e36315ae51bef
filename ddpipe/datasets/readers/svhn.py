"""SVHN, cropped digits: train_32x32.mat and test_32x32.mat, MATLAB files of X (32, 32, 3, n) and y (n, 1).

The label 10 stands for the digit 0 and becomes 0. The additional images of extra_32x32.mat are not used: the field
distils the training split. Source: http://ufldl.stanford.edu/housenumbers
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ddpipe.datasets.readers.download import fetch, verify
from ddpipe.datasets.source import Part, Source, lazy
from ddpipe.errors import UserError
from ddpipe.memory import images_at_once
from ddpipe.settings import Dataset


class File(NamedTuple):
    name: str
    md5: str


URL = "http://ufldl.stanford.edu/housenumbers/"
TRAIN = File("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373")
TEST = File("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3")


def read(name: str, settings: Dataset, raw: Path) -> Source:
    """Images (n, 3, 32, 32) of 10 classes: 73,257 for training and 26,032 for testing, as released."""
    train, test = (part(name, raw, file) for file in (TRAIN, TEST))
    provenance = {"reader": "svhn", "md5": {file.name: file.md5 for file in (TRAIN, TEST)}}
    return Source(train, test, tuple(str(digit) for digit in range(10)), provenance)


def part(name: str, raw: Path, file: File) -> Part:
    path = raw / file.name
    if not path.is_file():
        fetch(name, path, file.md5, [URL + file.name], f"{TRAIN.name}, {TEST.name}")
    with path.open("rb") as stream:
        verify(path, stream, file.md5)
        from scipy.io import loadmat  # slow to import, and needed only here

        try:
            content = loadmat(stream, variable_names=["X", "y"])
        except Exception as error:  # whatever the parser runs into
            raise UserError(f"{path} is not a MATLAB file ({error}); replace it by the official one") from error
    images, labels = content.get("X"), content.get("y")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[:-1] != (32, 32, 3):
        raise UserError(f"{path} has no array X of 32 x 32 x 3 x n bytes; replace it by the official one")
    n = images.shape[3]
    if not isinstance(labels, np.ndarray) or labels.shape != (n, 1) or not np.isin(labels, range(1, 11)).all():
        raise UserError(f"{path} has no array y of {n} labels from 1 to 10; replace it by the official one")
    digits = torch.from_numpy(labels[:, 0].astype(np.int64)) % 10

    def chunk(rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(images[..., rows].transpose(3, 2, 0, 1)))

    several = images_at_once(3 * 32 * 32)
    return lazy(digits, (3, 32, 32), lambda rows: (chunk(some.numpy()) for some in rows.split(several)))
