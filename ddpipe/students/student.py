"""The record that students hand to an objective."""

from dataclasses import dataclass

from ddpipe.networks import Classifier


@dataclass(frozen=True)
class Student:
    """A network that judges the set. The module is reused from step to step; only its weights are new."""

    network: Classifier
