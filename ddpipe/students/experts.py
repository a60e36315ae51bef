"""Stretches of expert trajectories: MTT and its family imitate how networks change on the real data."""

import torch

from ddpipe import settings
from ddpipe.experts.buffer import Buffer
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.students.stateless import Stateless
from ddpipe.students.student import Segment, Student
from ddpipe.synthetic import Synthetic


class Experts(Stateless):
    """An expert and a start epoch, both uniform, for every step."""

    gives = frozenset({"segment"})  # the network is an architecture alone: nothing sets its weights

    def __init__(self, config: settings.ExpertStudents, network: Classifier, buffer: Buffer):
        self.config, self.network, self.buffer = config, network, buffer

    def next(self, synthetic: Synthetic, rng: Streams) -> Student:
        draw = rng("students.experts")
        expert = int(torch.randint(len(self.buffer), (), generator=draw))
        start = int(torch.randint(self.config.starts, (), generator=draw))
        ends = (self.buffer.snapshot(expert, epoch) for epoch in (start, start + self.config.span))
        return Student(self.network, Segment(*ends))
