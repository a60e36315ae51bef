"""ImageNet-1K at 64x64: the downsampled archive of Chrabaszcz et al. (2017), or class folders that are resized here.

The archive, behind a login at https://image-net.org/download-images ("Train(64x64) part 1 / part 2", "Val(64x64)"), is
unpacked into the raw folder: train_data_batch_1 to train_data_batch_10 and val_data, either each in the "npz format"
(.npz, the better choice: no pickles) or pickled. Each holds data, uint8 (n, 12288), red, green, blue, and labels from 1
to 1000 in the authors' own order of classes; with their map_clsloc.txt beside the files, classes are called by WordNet
number, without it by the label. Nobody publishes checksums of the archive. So each file's MD5 is recorded with the
prepared data; a pickle, though the restricted unpickler could run nothing in it, is read only if md5sums.txt beside it
(as `md5sum` writes it) vouches for it. .npz files named there are verified as well.

Or: folders train/<wnid> and val/<wnid> of images of any size. Each is resized as a whole with a box filter, as for the
archive; classes are the sorted folder names. Here the files have no checksums.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddpipe.datasets.folders import class_names, image_files
from ddpipe.datasets.npy import Npz
from ddpipe.datasets.readers import pickled
from ddpipe.datasets.readers.download import md5_of, verify
from ddpipe.datasets.readers.images import encoded, squashed
from ddpipe.datasets.source import Part, Source, lazy, within
from ddpipe.errors import UserError
from ddpipe.memory import images_at_once
from ddpipe.settings import Dataset

CLASSES, SIDE = 1000, 64
TRAIN = tuple(f"train_data_batch_{number}" for number in range(1, 11))
TEST = ("val_data",)


def read(name: str, settings: Dataset, raw: Path) -> Source:
    """Images (n, 3, 64, 64): 1,281,167 for training, 50,000 (validation) for testing; never held in memory together.

    The pickled form is read batch by batch: a tenth of the set, 1.6 GB, is in memory at a time.
    """
    where = f"datasets.{name}"
    if (raw / "train").is_dir() and (raw / "val").is_dir():
        return read_folders(where, raw)
    sums = listed(raw)
    train, test = ([Batch(where, locate(where, raw, file), sums) for file in files] for files in (TRAIN, TEST))
    provenance = {"reader": "imagenet64", "md5": {batch.path.name: batch.md5 for batch in (*train, *test)}}
    return Source(joined(train), joined(test), names(raw), provenance)


# --- class folders ----------------------------------------------------------------------------------------------------


def read_folders(where: str, raw: Path) -> Source:
    classes = class_names(where, raw / "train")
    if unknown := sorted(set(class_names(where, raw / "val")) - set(classes)):
        raise UserError(f"{where}: {raw / 'val' / unknown[0]} has no folder in {raw / 'train'}; add it there")
    train, test = (resized(where, raw / part, classes) for part in ("train", "val"))
    return Source(train, test, classes, {"reader": "imagenet64", "files": "folders", "resized": "box"})


def resized(where: str, root: Path, classes: tuple[str, ...]) -> Part:
    found = [(file, label) for label, wnid in enumerate(classes) for file in image_files(where, root / wnid)]

    def read_one(row: int) -> np.ndarray:
        return squashed(found[row][0], found[row][0], SIDE)

    return encoded(torch.tensor([label for _, label in found]), read_one, lambda row: found[row][0], where)


# --- the archive ------------------------------------------------------------------------------------------------------


class Batch:
    """One file of the archive, in either form. labels: (n,), counted from 0."""

    def __init__(self, where: str, path: Path, sums: dict[str, str]):
        self.where, self.path = where, path
        with path.open("rb") as stream:
            if path.name in sums:
                verify(path, stream, sums[path.name])
            elif path.suffix != ".npz":
                raise UserError(
                    f"{where}: {path} is a pickle without a known checksum; use the archive's npz format, or write the "
                    f"MD5 of every file that you trust into {path.with_name('md5sums.txt')} (`md5sum *_data*`)"
                )
            self.md5 = sums.get(path.name) or md5_of(stream)
        if path.suffix == ".npz":
            file = self.npz()
            labels, (shape, dtype) = file.array("labels"), file.header("data")
        else:
            content = self.unpickled()
            try:
                labels, data = np.array(content.get("labels")), np.asarray(content.get("data"))
            except ValueError as error:  # lists of lists of different lengths
                raise UserError(f"{path}: labels or data are no arrays ({error}); {PUT}") from error
            shape, dtype = data.shape, data.dtype
        if dtype != np.uint8 or len(shape) != 2 or shape[1] != 3 * SIDE * SIDE or shape[0] == 0:
            raise UserError(
                f"{path}: data has shape {shape} and dtype {dtype}, not uint8 (n, {3 * SIDE * SIDE}); {PUT}"
            )
        if labels.shape != shape[:1] or labels.dtype.kind not in "iu" or labels.min() < 1 or labels.max() > CLASSES:
            raise UserError(f"{path}: labels are not {shape[0]} whole numbers from 1 to {CLASSES}; {PUT}")
        self.labels = torch.from_numpy(labels.astype(np.int64)) - 1

    def npz(self) -> Npz:
        file = Npz(self.where, self.path)
        for key in ("data", "labels"):
            if key not in file:
                raise UserError(f"{self.path} has no array {key}; {PUT}")
        return file

    def unpickled(self) -> dict[str, Any]:
        with self.path.open("rb") as stream:
            return pickled.load(self.path, stream, self.md5)

    def rows(self) -> Iterator[np.ndarray]:
        """The data, some rows at a time."""
        if self.path.suffix == ".npz":
            yield from self.npz().rows("data")
        else:
            data = self.unpickled()["data"]
            some = images_at_once(data.shape[1])
            for start in range(0, len(data), some):
                yield data[start : start + some].copy()  # a view would keep this batch while the next one is read


PUT = "put the official file there"


def joined(batches: list[Batch]) -> Part:
    """The images of the batches, one batch after the other."""

    def load(rows: Tensor) -> Iterator[Tensor]:
        start = 0
        for batch in batches:
            for chunk in batch.rows():
                wanted = within(rows, start, start + len(chunk)).numpy()
                start += len(chunk)
                yield torch.from_numpy(chunk[wanted]).view(-1, 3, SIDE, SIDE)

    return lazy(torch.cat([batch.labels for batch in batches]), (3, SIDE, SIDE), load)


def locate(where: str, raw: Path, file: str) -> Path:
    """The file in either form, in `raw` or in a folder that an unpacked part of the archive made there."""
    for path in (raw / f"{file}.npz", *sorted(raw.glob(f"*/{file}.npz")), raw / file, *sorted(raw.glob(f"*/{file}"))):
        if path.is_file():
            return path
    raise UserError(
        f"{where}: {raw / file} is missing; unpack the 64x64 archives of https://image-net.org/download-images into "
        f"{raw} ({TRAIN[0]} to {TRAIN[-1]} and {TEST[0]}, best in npz format), or put folders train and val there that "
        "have a sub-folder of images for each class"
    )


def listed(raw: Path) -> dict[str, str]:
    """File name -> MD5, from every md5sums.txt in `raw` and the folders in it."""
    sums = {}
    for path in (raw / "md5sums.txt", *sorted(raw.glob("*/md5sums.txt"))):
        for line in words(path).splitlines() if path.is_file() else ():
            md5, _, file = line.strip().partition(" ")
            sums[Path(file.strip(" *")).name] = md5.lower()
    return sums


def words(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text ({error}); {PUT}") from error


def names(raw: Path) -> tuple[str, ...]:
    """WordNet numbers in the order of the labels where map_clsloc.txt tells them, else the labels 1 to 1000."""
    path = raw / "map_clsloc.txt"
    if not path.is_file():
        return tuple(str(label) for label in range(1, CLASSES + 1))
    table = {}
    for line in words(path).splitlines():
        match line.split():
            case [wnid, label, *_] if label.isascii() and label.isdigit() and len(label) < 9:
                table[int(label)] = wnid
    if set(table) != set(range(1, CLASSES + 1)) or len(set(table.values())) != CLASSES:
        raise UserError(f"{path} does not name the classes 1 to {CLASSES} as `<wnid> <label> <name>` lines; {PUT}")
    return tuple(table[label] for label in range(1, CLASSES + 1))
