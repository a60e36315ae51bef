"""The user's own arrays: one .npz file, as numpy.savez writes it.

train_images, test_images: uint8 (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 or 3 channels.
train_labels, test_labels: integers (n,) or (n, 1), counting classes from 0. classes: their names, optional.
Without a test part `test_fraction` of each class is set aside. Pickled objects are never loaded.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ddpipe.datasets.source import Source, split
from ddpipe.errors import UserError
from ddpipe.settings import Dataset


def read(name: str, settings: Dataset, raw: Path) -> Source:
    assert settings.path is not None
    path, where = Path(settings.path), f"datasets.{name}"
    arrays = load(where, path)
    train = part(path, arrays, "train")
    classes = class_names(path, arrays, train[1])
    check_range(path, "train", train[1], classes)
    provenance = {"reader": "npz", "path": settings.path}
    if "test_images" in arrays or "test_labels" in arrays:
        if settings.test_fraction is not None:
            raise UserError(f"{where}.test_fraction: {path} has a test part, so nothing is to be split; leave it out")
        test = part(path, arrays, "test")
        check_range(path, "test", test[1], classes)
        return Source(*train, *test, classes, provenance)
    if settings.test_fraction is None:
        raise UserError(f"{where}.test_fraction: {path} has no test_images; add them, or set the fraction to set aside")
    parts = split(name, *train, settings.test_fraction)
    return Source(*parts, classes, provenance | {"test_fraction": settings.test_fraction})


def load(where: str, path: Path) -> dict[str, np.ndarray]:
    """The arrays of the file by key."""
    if not path.is_file():
        raise UserError(f"{where}.path: {path} does not exist; name an .npz file")
    keys = ("train_images", "train_labels", "test_images", "test_labels", "classes")
    try:
        with zipfile.ZipFile(path) as members, path.open("rb") as stream:  # np.load takes anything else for a pickle
            file = np.load(stream, allow_pickle=False)
            return {key: file[key] for key in keys if f"{key}.npy" in members.namelist()}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise UserError(
                f"{where}.path: {path} holds pickled objects, which are never loaded; save plain arrays instead"
            ) from error
        raise UserError(
            f"{where}.path: {path} is not an intact .npz file ({error}); save it again with numpy.savez"
        ) from error


def part(path: Path, arrays: dict[str, np.ndarray], prefix: str) -> tuple[Tensor, Tensor]:
    """Images uint8 (n, c, h, w) and labels int64 (n,) of the training or test part."""
    for key in (f"{prefix}_images", f"{prefix}_labels"):
        if key not in arrays:
            raise UserError(f"{path} has no array {key}; add it")
    images, labels = arrays[f"{prefix}_images"], arrays[f"{prefix}_labels"]
    if images.dtype != np.uint8:
        raise UserError(f"{path}: {prefix}_images has dtype {images.dtype}; save it as uint8, values 0 to 255")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise UserError(
            f"{path}: {prefix}_images has shape {arrays[f'{prefix}_images'].shape}; save it as (n, h, w), (n, h, w, c) "
            "or (n, c, h, w) with 1 or 3 channels"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise UserError(
            f"{path}: {prefix}_labels has shape {labels.shape} and dtype {labels.dtype}; save one integer for each of "
            f"the {len(images)} images"
        )
    if int(labels.min()) < 0:
        raise UserError(f"{path}: {prefix}_labels has the label {int(labels.min())}; number the classes from 0")
    return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.int64))


def class_names(path: Path, arrays: dict[str, np.ndarray], labels: Tensor) -> tuple[str, ...]:
    """The names in the file, or the numbers 0, 1, ... up to the largest training label."""
    if "classes" not in arrays:
        return tuple(str(label) for label in range(int(labels.max()) + 1))
    names = arrays["classes"]
    if names.ndim != 1 or names.dtype.kind not in "Uiu":
        raise UserError(f"{path}: classes has shape {names.shape} and dtype {names.dtype}; save a list of names")
    return tuple(str(name) for name in names)


def check_range(path: Path, prefix: str, labels: Tensor, classes: tuple[str, ...]) -> None:
    if int(labels.max()) >= len(classes):
        raise UserError(
            f"{path}: {prefix}_labels has the label {int(labels.max())} but the {len(classes)} classes are numbered "
            "from 0; mend the labels"
        )
