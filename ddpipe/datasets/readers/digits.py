"""The handwritten digits inside scikit-learn: 1,797 real 8x8 images (half of UCI's Optical Recognition data set).

The file holds the digits of 13 people one person after the other. The last 500 images are the test set, so that at most
one person has digits in both parts: unseen handwriting is tested, and no random number decides which.
Training images per class: 128 131 128 132 130 131 130 129 128 130; test images: 50 51 49 51 51 51 51 50 46 50.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from ddpipe.datasets.source import Source, in_memory
from ddpipe.errors import UserError
from ddpipe.settings import Dataset

TRAIN = 1297  # images; the other 500 are the test set


def read(name: str, settings: Dataset, raw: Path) -> Source:
    """Images (n, 1, 8, 8), ink bright on black, values 0..16 stretched to 0..255. Nothing is downloaded."""
    # The package is located but not imported: that would take longer than everything else here.
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"datasets.{name}: scikit-learn, which carries the digits, is missing; install scikit-learn")
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    try:
        table = np.loadtxt(path, delimiter=",").astype(np.int64)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(
            f"datasets.{name}: cannot read {path} ({error}); reinstall scikit-learn, which carries it"
        ) from error
    images = torch.from_numpy((table[:, :-1] * 255 + 8) // 16).to(torch.uint8).view(-1, 1, 8, 8)
    labels = torch.from_numpy(table[:, -1].copy())
    classes = tuple(str(digit) for digit in range(10))
    provenance = {"reader": "digits", "file": "sklearn/datasets/data/digits.csv.gz", "split": f"first {TRAIN} train"}
    train, test = (in_memory(images[part], labels[part]) for part in (slice(TRAIN), slice(TRAIN, None)))
    return Source(train, test, classes, provenance)
