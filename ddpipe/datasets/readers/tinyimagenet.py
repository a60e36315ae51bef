"""Tiny ImageNet: 200 classes of 500 training and 50 validation images, 64x64 JPEG; the latter are the test part.

The raw folder holds tiny-imagenet-200.zip, whose MD5 is verified, or the tree that unpacking it makes; otherwise the
archive is downloaded. Labels count the sorted WordNet numbers, as every loader of class folders does; wnids.txt has
another order. About 1.8 % of the files are greyscale and become RGB.
"""

import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from ddpipe.datasets.readers.download import fetch, verify
from ddpipe.datasets.readers.images import encoded, published
from ddpipe.datasets.source import Part, Source
from ddpipe.errors import UserError
from ddpipe.files.regular import regular
from ddpipe.settings import Dataset

FOLDER = "tiny-imagenet-200"
ARCHIVE = f"{FOLDER}.zip"
URL = f"http://cs231n.stanford.edu/{ARCHIVE}"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"  # the one that public loaders agree on; Stanford publishes none


class Tree:
    """The files of the release, below `root`: a folder or the open archive."""

    def __init__(self, root: Path, names: list[str], content: Callable[[str], bytes]):
        self.root, self.names, self.content = root, set(names), content

    def read(self, name: str) -> bytes:
        """The contents of a file, `name` counting from the root, with / between folders."""
        if name not in self.names:
            raise UserError(f"{self.root / name} is missing; unpack the official {ARCHIVE} again")
        try:
            return self.content(name)
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"cannot read {self.root / name} ({error}); put the official file there") from error

    def lines(self, name: str) -> list[list[str]]:
        """The words of every line that has any."""
        return [words for line in self.read(name).decode("latin1").splitlines() if (words := line.split())]


def read(name: str, settings: Dataset, raw: Path) -> Source:
    """Images (n, 3, 64, 64): 100,000 for training, 10,000 (validation) for testing; a class is called by its wnid."""
    tree = find(name, raw)
    classes = tuple(sorted(words[0] for words in tree.lines("wnids.txt")))
    number = {wnid: label for label, wnid in enumerate(classes)}

    folders: dict[str, list[str]] = {wnid: [] for wnid in classes}
    for file in tree.names:
        match file.split("/"):
            case ["train", wnid, "images", image] if image.lower().endswith(".jpeg"):
                if wnid not in folders:
                    raise UserError(
                        f"{tree.root}/train/{wnid} is not in wnids.txt; unpack the official {ARCHIVE} again"
                    )
                folders[wnid].append(file)
    train = [(file, number[wnid]) for wnid in classes for file in sorted(folders[wnid], key=by_number)]

    test = []
    for words in tree.lines("val/val_annotations.txt"):
        if len(words) < 2 or words[1] not in number:
            raise UserError(
                f"{tree.root}/val/val_annotations.txt: {' '.join(words[:2])!r} does not name an image and a class of "
                "wnids.txt; put the official file there"
            )
        test.append((f"val/images/{words[0]}", number[words[1]]))
    provenance = {"reader": "tinyimagenet", "files": {ARCHIVE: MD5} if tree.root.suffix == ".zip" else "unpacked"}
    return Source(part(name, tree, "train", train), part(name, tree, "val", test), classes, provenance)


def by_number(file: str) -> tuple[int, str]:
    """Sorts ..._9.JPEG before ..._10.JPEG."""
    return len(file), file


def find(name: str, raw: Path) -> Tree:
    """The tree in `raw` or in its sub-folder, or the archive, which is downloaded when nothing else is there."""
    for root in (raw, raw / FOLDER):
        if (root / "wnids.txt").is_file():
            names = [path.relative_to(root).as_posix() for path in root.rglob("*.*") if not path.name.startswith(".")]
            return Tree(root, names, lambda file, root=root: regular(root / file).read_bytes())  # type: ignore[misc]
    path = raw / ARCHIVE
    if not path.is_file():
        fetch(name, path, MD5, [URL], f"{ARCHIVE} or the unpacked folder {FOLDER}")
    with path.open("rb") as stream:
        verify(path, stream, MD5)
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is not a zip archive ({error}); replace it by the official one") from error
    names = [file.removeprefix(f"{FOLDER}/") for file in archive.namelist()]
    return Tree(path, names, lambda file: archive.read(f"{FOLDER}/{file}"))


def part(name: str, tree: Tree, folder: str, files: list[tuple[str, int]]) -> Part:
    """The images at the given places with their labels."""
    if not files:
        raise UserError(f"{tree.root}/{folder} has no images; unpack the official {ARCHIVE} again")

    def title(row: int) -> Path:
        return tree.root / files[row][0]

    def read_one(row: int) -> np.ndarray:
        return published(title(row), BytesIO(tree.read(files[row][0])))

    return encoded(torch.tensor([label for _, label in files]), read_one, title, f"datasets.{name}")
