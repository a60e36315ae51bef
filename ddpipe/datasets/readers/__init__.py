"""Readers: one module a kind of source, each with `read(name, settings, raw) -> Source`.

A reader tells labels and shapes at once and reads images only when they are asked for, some at a time.
A new source is a module here, a line in READERS and its name in `settings.Dataset.source`.
"""

from collections.abc import Callable
from pathlib import Path

from ddpipe.datasets.readers import cifar, digits, folder, idx, imagenet64, npz, svhn, tinyimagenet
from ddpipe.datasets.source import Source
from ddpipe.settings import Dataset

READERS: dict[str, Callable[[str, Dataset, Path], Source]] = {
    "digits": digits.read,
    "mnist": idx.read,
    "fashionmnist": idx.read,
    "svhn": svhn.read,
    "cifar10": cifar.read,
    "cifar100": cifar.read,
    "tinyimagenet": tinyimagenet.read,
    "imagenet64": imagenet64.read,
    "folder": folder.read,
    "npz": npz.read,
}
