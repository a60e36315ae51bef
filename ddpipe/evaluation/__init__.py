"""How good a set is: new networks come to know it by the rule of a protocol, a module a kind, and are tested."""

from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.examination import Examination, Score, balanced, class_means, mean_and_std

__all__ = ["Examination", "Score", "TrainingSet", "balanced", "class_means", "mean_and_std"]
