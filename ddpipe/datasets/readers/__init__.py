"""Readers: one module a kind of source, each with `read(name, settings, raw) -> Source`.

A new source is a module here, a line in READERS and its name in `settings.Dataset.source`.
"""

from collections.abc import Callable
from pathlib import Path

from ddpipe.datasets.readers import digits, folder, idx, npz
from ddpipe.datasets.source import Source
from ddpipe.settings import Dataset

READERS: dict[str, Callable[[str, Dataset, Path], Source]] = {
    "digits": digits.read,
    "mnist": idx.read,
    "fashionmnist": idx.read,
    "folder": folder.read,
    "npz": npz.read,
}
