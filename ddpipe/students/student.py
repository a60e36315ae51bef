"""The record that students hand to an objective."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ddpipe.networks import Classifier


class Segment(NamedTuple):
    """A stretch of an expert's trajectory, flat weights on the device of the network."""

    start: Tensor  # (P,) float32
    target: Tensor  # (P,) float32


@dataclass(frozen=True)
class Student:
    """A network that judges the set. The module is reused from step to step; only its weights are new."""

    network: Classifier
    segment: Segment | None = None  # with one, the network gives the architecture alone
