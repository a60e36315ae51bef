"""What is learned (survey section 5): parametrisations of the synthetic set, by the `name` of their settings."""

from ddpipe.synthetic import pixels
from ddpipe.synthetic.batch import Batch
from ddpipe.synthetic.pixels import Pixels

STARTS = {"pixels": pixels.start}  # name -> function (settings, real, ipc, rng) -> parametrisation

__all__ = ["STARTS", "Batch", "Pixels"]
