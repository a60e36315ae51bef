"""How good a set is: new networks come to know it by the rule of a protocol, a module a kind, and are tested."""

from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.examination import Examination, mean_and_std

__all__ = ["Examination", "TrainingSet", "mean_and_std"]
