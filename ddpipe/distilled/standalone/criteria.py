"""What outputs are held against."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

CRITERIA: dict[str, Any] = {
    "cross-entropy": F.cross_entropy,
    "squared-error": lambda outputs, targets: (outputs - targets).square().sum(1).mean() / 2,
}


def targets(criterion: str, about: dict[str, Any], arrays: dict[str, Tensor], hard: bool = False) -> Tensor:
    """Distributions over the classes, or free weights; less 1 / K for squared errors if they are no scores yet."""
    found = arrays["targets"]
    if hard:  # the class of the largest number
        found = F.one_hot(found.argmax(1), found.shape[1]).to(found)
    shift = criterion == "squared-error" and (hard or about["targets"] != "centred")
    return found - 1 / len(about["classes"]) if shift else found
