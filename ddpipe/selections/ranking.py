"""What rules that choose in a feature space share: exact distances, and the first of equally good rows."""

from torch import Tensor

ROUNDING = 1e-12  # of the largest squared norm: far above float64's error, far below a real difference


def first_smallest(scores: Tensor, slack: float) -> int:
    """The first row whose score is the smallest to within `slack`: duplicates select the same on every machine."""
    return int((scores <= scores.min() + slack).nonzero()[0])


def of(features: Tensor, rows: Tensor) -> Tensor:
    """(m, F) float64 features of the rows of a class."""
    return features[rows.to(features.device)].double()
