"""What an objective hands to the outer optimiser."""

from typing import NamedTuple

from torch import Tensor


class Loss(NamedTuple):
    """`pull.backward()` leaves the gradient in the learned tensors.

    An objective that takes its gradient class by class, to hold one class's graph instead of all, hands back the
    surrogate sum(images * gradient): the decoder behind the images gets the same gradient from it.
    """

    value: Tensor  # () what is logged and checked for NaN
    pull: Tensor  # ()
