"""A new random network for every step: DM, and DC and DSA at one image per class."""

from torch import Tensor

from ddpipe.networks import Classifier, initialise_
from ddpipe.randomness import Streams
from ddpipe.students.student import Student
from ddpipe.synthetic import Pixels


class Fresh:
    gives = frozenset({"network"})

    def __init__(self, network: Classifier):
        self.network = network

    def next(self, synthetic: Pixels, rng: Streams) -> Student:
        return Student(initialise_(self.network.train(), rng("students.init")))

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing outlives a step."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        pass
