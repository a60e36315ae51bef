"""What outputs are held against."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

CRITERIA: dict[str, Any] = {
    "cross-entropy": F.cross_entropy,
    "squared-error": lambda outputs, targets: (outputs - targets).square().sum(1).mean() / 2,
}


def targets(criterion: str, about: dict[str, Any], arrays: dict[str, Tensor]) -> Tensor:
    """Distributions over the classes, for squared errors less 1 / K; a set whose targets are scores has those."""
    shift = criterion == "squared-error" and about["targets"] == "one-hot"
    return arrays["targets"] - 1 / len(about["classes"]) if shift else arrays["targets"]
