"""The user's own images in one or two .npz files, as numpy.savez writes them, pixels or JPEG.

Pixels: train_images, test_images uint8 (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 or 3 channels; train_labels,
test_labels integers (n,) or (n, 1), counting classes from 0; classes: their names, optional.

JPEG container (one part a file): jpeg uint8, all JPEG files one after the other; offset integers (n + 1,), where each
begins and the last one ends; label integers (n,); classes or wnid: the names, optional. Decoded to RGB, or to one
channel with `grey`.

`path` is one file, or a folder with train.npz and test.npz (or val.npz); pixels may have both parts in one file.
Without a test part `test_fraction` of each class is set aside. Pickled objects are never loaded.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ddpipe.datasets.npy import Npz, files, tested
from ddpipe.datasets.readers.images import decode, encoded
from ddpipe.datasets.source import Part, Source, lazy, split, within
from ddpipe.errors import UserError
from ddpipe.settings import Dataset

MOST = 2**31  # a label: no file has so many classes
NAMES = ("classes", "wnid")  # keys that may hold the names of the classes, best first


def read(name: str, settings: Dataset, raw: Path) -> Source:
    assert settings.path is not None
    where = f"{settings.table}.{name}"
    file, other = files(where, Path(settings.path))
    if settings.grey and "jpeg" not in file:
        raise UserError(f"{where}.grey: {file.path} has pixels, which are taken as they are; leave grey out")
    train = part(file, "train", settings.grey)
    classes = class_names(file, train.labels)
    check_range(file.path, "train", train.labels, classes)
    provenance = {"reader": "npz", "path": str(file.path)}
    holder = tested(where, file, other, settings.test_fraction)
    if holder is None:
        assert settings.test_fraction is not None
        parts = split(where, name, train, settings.test_fraction, classes)
        return Source(*parts, classes, provenance | {"test_fraction": settings.test_fraction})
    test = part(holder, "test", settings.grey)
    if names(holder) not in (None, classes):
        raise UserError(f"{where}.path: {holder.path} names other classes than {file.path}; save the same")
    check_range(holder.path, "test", test.labels, classes)
    return Source(train, test, classes, provenance | ({} if other is None else {"test_path": str(other.path)}))


def part(file: Npz, prefix: str, grey: bool) -> Part:
    """The training or test part of the file, in whichever form it is."""
    return jpegs(file, grey) if "jpeg" in file else arrays(file, prefix)


def arrays(file: Npz, prefix: str) -> Part:
    """Pixels, brought into the order (n, c, h, w)."""
    for key in (f"{prefix}_images", f"{prefix}_labels"):
        if key not in file:
            raise UserError(f"{file.path} has no array {key}; add it")
    shape, dtype = file.header(f"{prefix}_images")
    if dtype != np.uint8:
        raise UserError(f"{file.path}: {prefix}_images has dtype {dtype}; save it as uint8, values 0 to 255")

    def ordered(images: np.ndarray) -> np.ndarray:
        if images.ndim == 3:
            return images[:, None]
        return images.transpose(0, 3, 1, 2) if images.ndim == 4 and images.shape[3] in (1, 3) else images

    n, *size = ordered(np.empty((0, *shape[1:]), np.uint8)).shape
    if len(size) != 3 or size[0] not in (1, 3) or 0 in shape:
        raise UserError(
            f"{file.path}: {prefix}_images has shape {shape}; save it as (n, h, w), (n, h, w, c) or (n, c, h, w) with "
            "1 or 3 channels"
        )

    def load(rows: Tensor) -> Iterator[Tensor]:
        start = 0
        for chunk in file.rows(f"{prefix}_images"):
            wanted = within(rows, start, start + len(chunk)).numpy()
            start += len(chunk)
            yield torch.from_numpy(np.ascontiguousarray(ordered(chunk)[wanted]))

    return lazy(integers(file, f"{prefix}_labels", shape[0]), (size[0], size[1], size[2]), load)


def jpegs(file: Npz, grey: bool) -> Part:
    """A JPEG container; every image is decoded when it is asked for."""
    for key in ("offset", "label"):
        if key not in file:
            raise UserError(f"{file.path} has no array {key}; a file with jpeg needs offset and label as well")
    data, offset = file.array("jpeg"), file.array("offset")
    if data.dtype != np.uint8 or data.ndim != 1:
        raise UserError(f"{file.path}: jpeg has shape {data.shape} and dtype {data.dtype}; save it as uint8 (bytes,)")
    if (
        offset.dtype.kind not in "iu"
        or offset.ndim != 1
        or len(offset) < 2
        or offset[0] < 0
        or offset[-1] != len(data)
        or bool((offset[1:] <= offset[:-1]).any())
    ):
        raise UserError(f"{file.path}: offset must rise from image to image and end at {len(data)}, the end of jpeg")

    def title(row: int) -> str:
        return f"{file.path}: image number {row} (counting from 0)"

    def read_one(row: int) -> np.ndarray:
        return decode(title(row), BytesIO(data[offset[row] : offset[row + 1]].tobytes()), grey)

    return encoded(integers(file, "label", len(offset) - 1), read_one, title, file.where)


def integers(file: Npz, key: str, n: int) -> Tensor:
    """The labels `key` of n images, int64 (n,)."""
    labels = file.array(key)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.shape != (n,):
        raise UserError(
            f"{file.path}: {key} has shape {labels.shape} and dtype {labels.dtype}; save one integer for each of the "
            f"{n} images"
        )
    if int(labels.min()) < 0:
        raise UserError(f"{file.path}: {key} has the label {int(labels.min())}; number the classes from 0")
    if int(labels.max()) > MOST:
        raise UserError(f"{file.path}: {key} has the label {int(labels.max())}; number the classes 0, 1, 2, ...")
    return torch.from_numpy(labels.astype(np.int64))


def names(file: Npz) -> tuple[str, ...] | None:
    """The names of the classes, if the file has them."""
    key = next((key for key in NAMES if key in file), None)
    if key is None:
        return None
    found = file.array(key)
    if found.ndim != 1 or found.dtype.kind not in "Uiu":
        raise UserError(f"{file.path}: {key} has shape {found.shape} and dtype {found.dtype}; save a list of names")
    return tuple(str(word) for word in found)


def class_names(file: Npz, labels: Tensor) -> tuple[str, ...]:
    """The names in the file, or the numbers 0, 1, ... up to the largest training label."""
    found, largest = names(file), int(labels.max())
    if found is None and largest >= len(labels):  # each class needs an image: nothing of this size is made before
        raise UserError(
            f"{file.path}: the {len(labels)} training images have the label {largest}; number the classes 0, 1, 2, ..."
        )
    return tuple(str(label) for label in range(largest + 1)) if found is None else found


def check_range(path: Path, prefix: str, labels: Tensor, classes: tuple[str, ...]) -> None:
    if int(labels.max()) >= len(classes):
        raise UserError(
            f"{path}: {prefix}_labels has the label {int(labels.max())} but the {len(classes)} classes are numbered "
            "from 0; mend the labels"
        )
