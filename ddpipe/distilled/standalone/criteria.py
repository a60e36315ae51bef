"""What outputs are held against."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

CRITERIA: dict[str, Any] = {
    "cross-entropy": F.cross_entropy,
    "squared-error": lambda outputs, targets: (outputs - targets).square().sum(1).mean() / 2,
}


def targets(criterion: str, about: dict[str, Any], arrays: dict[str, Tensor]) -> Tensor:
    """Distributions over the classes, or free weights; less 1 / K for squared errors if they are no scores yet."""
    shift = criterion == "squared-error" and about["targets"] != "centred"
    return arrays["targets"] - 1 / len(about["classes"]) if shift else arrays["targets"]
