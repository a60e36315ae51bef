"""What a parametrisation decodes to and a network trains on."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    images: Tensor  # (n, c, h, w) in the run's pixel space
    targets: Tensor  # (n, K) distribution over classes; one-hot for hard labels
