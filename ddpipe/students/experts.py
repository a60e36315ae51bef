"""Stretches of expert trajectories: MTT and its family imitate how networks change on the real data."""

import torch

from ddpipe.context import Context
from ddpipe.errors import UserError
from ddpipe.experts.buffer import Buffer
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.settings.students import experts as record
from ddpipe.students.stateless import Stateless
from ddpipe.students.student import Segment, Student
from ddpipe.synthetic import Synthetic


class Experts(Stateless):
    """An expert and a start epoch, both uniform, for every step."""

    def __init__(self, config: record.ExpertStudents, network: Classifier, buffer: Buffer):
        self.config, self.network, self.buffer = config, network, buffer

    def next(self, synthetic: Synthetic, rng: Streams, iteration: int) -> Student:
        draw = rng("students.experts")
        expert = int(torch.randint(len(self.buffer), (), generator=draw))
        start = int(torch.randint(self.config.starts, (), generator=draw))
        ends = (self.buffer.snapshot(expert, epoch) for epoch in (start, start + self.config.span))
        return Student(self.network, Segment(*ends), iteration)


def make(config: record.ExpertStudents, context: Context) -> Experts:
    """UserError without a buffer."""
    if context.buffer is None:
        raise UserError("students: 'experts' follow a buffer; name one as the row's needs: data/experts/<buffer>")
    return Experts(config, context.network, context.buffer)
