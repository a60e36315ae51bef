"""What a network's outputs are held against: distributions over the classes, or scores."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from ddpipe.settings import Criterion

Measure = Callable[[Tensor, Tensor], Tensor]  # outputs (n, K), targets (n, K) -> (), the mean over the n


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared distance, summed over the classes (FRePo, RFAD's up to a factor)."""
    return (outputs - targets).square().sum(1).mean() / 2


CRITERIA: dict[Criterion, Measure] = {"cross-entropy": F.cross_entropy, "squared-error": squared_error}
