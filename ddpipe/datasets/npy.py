"""The arrays inside an .npz file, read whole or some rows at a time; pickled objects are never loaded."""

import contextlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ddpipe.datasets.folders import TEST, TRAIN, refuse_bytes_below
from ddpipe.errors import UserError
from ddpipe.memory import images_at_once

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Npz:
    """One file; `where` is the key that named it, for errors. UserError when it is no intact .npz file."""

    def __init__(self, where: str, path: Path):
        self.where, self.path = where, path
        if not path.is_file():
            raise UserError(f"{where}: {path} does not exist; name an .npz file")
        with self.reading(), zipfile.ZipFile(path) as archive:
            self.keys = {name.removesuffix(".npy") for name in archive.namelist()}

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Whatever a damaged file makes zipfile, its decompressors and numpy run into becomes one sentence."""
        try:
            yield
        except (UserError, MemoryError):
            raise
        except Exception as error:
            if "password required" in str(error):
                raise UserError(f"{self.where}: {self.path} is encrypted; save it again with numpy.savez") from error
            if "bject array" in str(error):
                raise UserError(
                    f"{self.where}: {self.path} holds pickled objects, which are never loaded; save plain arrays "
                    "instead"
                ) from error
            raise UserError(
                f"{self.where}: {self.path} is not an intact .npz file ({error}); save it again with numpy.savez"
            ) from error

    def array(self, key: str) -> np.ndarray:
        """A whole array."""
        with self.reading(), zipfile.ZipFile(self.path) as archive, archive.open(f"{key}.npy") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)

    def header(self, key: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and dtype of an array, without its contents."""
        with self.reading(), zipfile.ZipFile(self.path) as archive, archive.open(f"{key}.npy") as stream:
            shape, _, dtype = header(stream)
            return shape, dtype

    def rows(self, key: str) -> Iterator[np.ndarray]:
        """The array `key` some rows at a time."""
        with self.reading(), zipfile.ZipFile(self.path) as archive, archive.open(f"{key}.npy") as stream:
            shape, column_major, dtype = header(stream)
            some = images_at_once(math.prod(shape[1:]))
            if column_major:  # its rows are scattered over the file
                whole = self.array(key)
                yield from (whole[start : start + some] for start in range(0, shape[0], some))
                return
            for start in range(0, shape[0], some):
                n = min(some, shape[0] - start)
                data = stream.read(n * math.prod(shape[1:]) * dtype.itemsize)
                yield np.frombuffer(data, dtype).reshape(n, *shape[1:])


def header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the first axis varies fastest, and dtype; the stream then stands at the first value."""
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"version {version} of the .npy format is for structured arrays")
    shape, column_major, dtype = HEADERS[version](stream)
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"an array of shape {shape}")
    if dtype.hasobject:
        raise ValueError("an object array would need allow_pickle")
    return shape, column_major, dtype


# --- the user's own: which file has which part ------------------------------------------------------------------------


def files(where: str, path: Path) -> tuple[Npz, Npz | None]:
    """The training file and, where there is one, that of the test part, for a `path` that is a file or their folder."""
    refuse_bytes_below(f"{where}.path", path)
    if not path.is_dir():
        return Npz(f"{where}.path", path), None
    train, test = (
        next((f for f in (path / f"{w}.npz" for w in words) if f.is_file()), None) for words in (TRAIN, TEST)
    )
    if train is None:
        raise UserError(f"{where}.path: {path} is a folder without train.npz; name an .npz file, or put it there")
    return Npz(f"{where}.path", train), Npz(f"{where}.path", test) if test else None


def tested(where: str, file: Npz, other: Npz | None, test_fraction: float | None) -> Npz | None:
    """The file that holds the test part; None where `test_fraction` of the training part is set aside."""
    inside = "test_images" in file or "test_labels" in file
    if inside and other is not None:
        raise UserError(f"{where}.path: {file.path} has a test part of its own, so take {other.path} out of the folder")
    holder = file if inside else other
    if holder is not None and test_fraction is not None:
        raise UserError(
            f"{where}.test_fraction: {holder.path} has a test part, so nothing is to be split; leave it out"
        )
    if holder is None and test_fraction is None:
        raise UserError(
            f"{where}.test_fraction: {file.path} has no test_images; add them, put train.npz and test.npz into a "
            "folder and name it as path, or set the fraction to set aside"
        )
    return holder
