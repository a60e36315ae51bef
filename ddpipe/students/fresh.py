"""A new random network for every step: DM, and DC and DSA at one image per class."""

from ddpipe.networks import Classifier, initialise_
from ddpipe.randomness import Streams
from ddpipe.students.stateless import Stateless
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic


class Fresh(Stateless):
    gives = frozenset({"network"})

    def __init__(self, network: Classifier):
        self.network = network

    def next(self, synthetic: Synthetic, rng: Streams) -> Student:
        return Student(initialise_(self.network.train(), rng("students.init")))
