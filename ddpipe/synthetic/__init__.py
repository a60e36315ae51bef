"""What is learned (survey section 5): a module for each record in ddpipe/settings/synthetic."""

from ddpipe.synthetic.synthetic import Factorised, Synthetic
from ddpipe.training.batch import Batch

__all__ = ["Batch", "Factorised", "Synthetic"]
