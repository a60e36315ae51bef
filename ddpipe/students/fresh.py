"""A new random network for every step: DM, and DC and DSA at one image per class."""

from ddpipe.context import Context
from ddpipe.networks import Classifier, initialise_
from ddpipe.randomness import Streams
from ddpipe.settings.students import fresh as record
from ddpipe.students.stateless import Stateless
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic


class Fresh(Stateless):
    def __init__(self, network: Classifier):
        self.network = network

    def next(self, synthetic: Synthetic, rng: Streams, iteration: int) -> Student:
        return Student(initialise_(self.network.train(), rng("students.init")), number=iteration)


def make(config: record.FreshStudents, context: Context) -> Fresh:
    return Fresh(context.network)
