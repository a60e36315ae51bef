"""What is learned (survey section 5): parametrisations of the synthetic set, by the `name` of their settings."""

from collections.abc import Callable

from ddpipe.synthetic import hallucinator, pixels
from ddpipe.synthetic.hallucinator import Hallucinator
from ddpipe.synthetic.pixels import Pixels
from ddpipe.synthetic.synthetic import Factorised, Synthetic
from ddpipe.training.batch import Batch

STARTS: dict[str, Callable[..., Synthetic]] = {  # called with (settings, real, ipc, rng)
    "pixels": pixels.start,
    "hallucinator": hallucinator.start,
}

__all__ = ["STARTS", "Batch", "Factorised", "Hallucinator", "Pixels", "Synthetic"]
