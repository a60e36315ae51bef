"""CIFAR-10 and CIFAR-100: the official archives for Python, which are pickles (readers/pickled.py).

The raw folder holds the .tar.gz, or the files in it, in the folder that unpacking makes or by themselves; otherwise the
archive is downloaded. Every file's MD5 must be the official one before it is read. CIFAR-100 has its 100 fine labels.
Format: https://www.cs.toronto.edu/~kriz/cifar.html (data: one row of 3,072 bytes an image, red, green, blue).
"""

import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ddpipe.datasets.readers import pickled
from ddpipe.datasets.readers.download import fetch, verify
from ddpipe.datasets.source import Part, Source, in_memory
from ddpipe.errors import UserError
from ddpipe.settings import Dataset


class Release(NamedTuple):
    archive: str
    url: str
    md5: str  # of the archive
    folder: str  # in the archive
    train: dict[str, str]  # file -> MD5
    test: dict[str, str]
    meta: dict[str, str]
    labels: str  # key in the train and test files
    names: str  # key in the meta file


RELEASES = {
    "cifar10": Release(
        "cifar-10-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        "cifar-10-batches-py",
        {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        {"test_batch": "40351d587109b95175f43aff81a1287e"},
        {"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
        "labels",
        "label_names",
    ),
    "cifar100": Release(
        "cifar-100-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
        "cifar-100-python",
        {"train": "16019d7e3df5f24257cddd939b257f8d"},
        {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        {"meta": "7973b15100ade9c7d40fb424638fde48"},
        "fine_labels",
        "fine_label_names",
    ),
}


def read(name: str, settings: Dataset, raw: Path) -> Source:
    """Images (n, 3, 32, 32): 50,000 for training and 10,000 for testing, as released; classes in their order there."""
    release = RELEASES[settings.source]
    with opened(name, raw, release) as files:
        ((where, meta),) = contents(files, release.meta)
        classes = meta.get(release.names)
        if not isinstance(classes, list) or not all(isinstance(word, str) for word in classes):
            raise UserError(f"{where} has no list {release.names!r} of class names; replace it by the official one")
        train = part(contents(files, release.train), release.labels, len(classes))
        test = part(contents(files, release.test), release.labels, len(classes))
    provenance = {"reader": "cifar", "release": settings.source, "md5": release.train | release.test | release.meta}
    return Source(train, test, tuple(classes), provenance)


class Files:
    """The files of a release by name: in a folder, or in the archive."""

    def __init__(self, path: Path, archive: tarfile.TarFile | None = None, folder: str = ""):
        self.path, self.archive, self.folder = path, archive, folder

    def where(self, file: str) -> Path:
        return self.path / self.folder / file

    def open(self, file: str) -> BinaryIO:
        if self.archive is None:
            return self.where(file).open("rb")
        member = self.archive.extractfile(f"{self.folder}/{file}")
        if member is None:
            raise KeyError(f"{self.folder}/{file} is not a file")
        return BytesIO(member.read())


@contextmanager
def opened(name: str, raw: Path, release: Release) -> Iterator[Files]:
    """The files where they lie; the archive is downloaded when nothing else is there."""
    every = [*release.train, *release.test, *release.meta]
    for folder in (raw, raw / release.folder):
        if all((folder / file).is_file() for file in every):
            yield Files(folder)
            return
    path = raw / release.archive
    if not path.is_file():
        fetch(name, path, release.md5, [release.url], f"{release.archive} or the files {', '.join(every)}")
    with path.open("rb") as stream:
        verify(path, stream, release.md5)
        try:
            with tarfile.open(fileobj=stream, mode="r:gz") as archive:
                yield Files(path, archive, release.folder)
        except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
            raise UserError(f"{path} lacks a file ({error}); replace it by the official one") from error


def contents(files: Files, wanted: dict[str, str]) -> list[tuple[Path, dict[str, Any]]]:
    """What each wanted file says, after its MD5 was found to be right."""
    found = []
    for file, md5 in wanted.items():
        with files.open(file) as stream:
            found.append((files.where(file), pickled.load(files.where(file), stream, md5)))
    return found


def part(batches: list[tuple[Path, dict[str, Any]]], key: str, classes: int) -> Part:
    """The images of all batches, one after the other."""
    checked = [(pixels(where, batch), labels(where, batch, key, classes)) for where, batch in batches]
    return in_memory(*(torch.cat(tensors) for tensors in zip(*checked, strict=True)))


def pixels(where: Path, batch: dict[str, Any]) -> Tensor:
    """uint8 (n, 3, 32, 32)."""
    data = batch.get("data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        raise UserError(f"{where} has no 'data' of n rows of 3072 bytes; replace it by the official one")
    return torch.from_numpy(data.copy()).view(-1, 3, 32, 32)


def labels(where: Path, batch: dict[str, Any], key: str, classes: int) -> Tensor:
    """int64 (n,)."""
    found, n = batch.get(key), len(batch["data"])
    fine = isinstance(found, list) and len(found) == n and all(type(x) is int and 0 <= x < classes for x in found)
    if not fine:
        raise UserError(
            f"{where} has no list {key!r} of {n} labels from 0 to {classes - 1}; replace it by the official one"
        )
    return torch.tensor(found)
