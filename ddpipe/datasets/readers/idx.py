"""MNIST and FashionMNIST: four idx files each, as torchvision downloads them.

Files that already lie in the raw folder are used without network, packed or unpacked, and every file's MD5 is compared
with the official one. Format: http://yann.lecun.com/exdb/mnist (big-endian header, then unsigned bytes).
"""

import gzip
import math
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ddpipe.datasets.readers.download import fetch, verify
from ddpipe.datasets.source import Source, in_memory
from ddpipe.errors import UserError
from ddpipe.settings import Dataset


class File(NamedTuple):
    name: str  # without .gz
    packed: str  # MD5 of the .gz file
    unpacked: str  # MD5 of its contents


class Release(NamedTuple):
    torchvision: str  # class of torchvision.datasets that knows the mirrors
    files: tuple[File, File, File, File]  # train images, train labels, test images, test labels
    classes: tuple[str, ...]


NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
WANTED = ", ".join(f"{name}.gz" for name in NAMES)
RELEASES = {
    "mnist": Release(
        "MNIST",
        (
            File(NAMES[0], "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
            File(NAMES[1], "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
            File(NAMES[2], "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
            File(NAMES[3], "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
        ),
        tuple(str(digit) for digit in range(10)),
    ),
    "fashionmnist": Release(
        "FashionMNIST",
        (
            File(NAMES[0], "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
            File(NAMES[1], "25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
            File(NAMES[2], "bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
            File(NAMES[3], "bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
        ),
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ),
}


def read(name: str, settings: Dataset, raw: Path) -> Source:
    """Images (n, 1, 28, 28) of 10 classes: 60,000 for training and 10,000 for testing, as released."""
    release = RELEASES[settings.source]
    paths = locate(raw, release)
    if missing := [file.name for file, path in zip(release.files, paths, strict=True) if path is None]:
        download(name, raw, release, missing)
        paths = locate(raw, release)
    train_images, train_labels, test_images, test_labels = (
        parse(path, verified(path, file)) for path, file in zip(paths, release.files, strict=True) if path is not None
    )
    provenance = {"reader": "idx", "release": release.torchvision, "md5": {f.name: f.unpacked for f in release.files}}
    train = in_memory(train_images[:, None], train_labels.long())
    test = in_memory(test_images[:, None], test_labels.long())
    return Source(train, test, release.classes, provenance)


def locate(raw: Path, release: Release) -> list[Path | None]:
    """The four files, packed or not, in `raw` or where torchvision puts them below it; None for a missing one."""
    folders = [raw, raw / "raw", raw / release.torchvision / "raw"]
    found = []
    for file in release.files:
        candidates = [folder / name for folder in folders for name in (f"{file.name}.gz", file.name)]
        found.append(next((path for path in candidates if path.is_file()), None))
    return found


def download(name: str, raw: Path, release: Release, missing: list[str]) -> None:
    """Fetch the missing files from torchvision's mirrors into `raw`."""
    import torchvision

    mirrors = getattr(torchvision.datasets, release.torchvision).mirrors
    checksums = {file.name: file.packed for file in release.files}
    for file in missing:
        path = raw / f"{file}.gz"
        fetch(name, path, checksums[file], [mirror + path.name for mirror in mirrors], wanted=WANTED)


def verified(path: Path, file: File) -> bytes:
    """The unpacked contents of `path`, once its MD5 is the official one."""
    with path.open("rb") as stream:
        verify(path, stream, file.packed if path.suffix == ".gz" else file.unpacked)
        data = stream.read()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def parse(path: Path, data: bytes) -> Tensor:
    """The uint8 array in the idx file `data`; `path` is only named in errors."""
    try:
        zeros, kind, dimensions = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{dimensions}I", data, 4)
    except struct.error as error:
        raise UserError(
            f"{path} is cut short: it ends within the idx header; replace it by the official one"
        ) from error
    start = 4 + 4 * dimensions
    if zeros != 0 or kind != 8 or len(data) != start + math.prod(shape):
        raise UserError(
            f"{path} is not an idx file of {math.prod(shape)} unsigned bytes as its header says; replace it by the "
            "official one"
        )
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy())
