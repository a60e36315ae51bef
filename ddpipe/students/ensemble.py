"""Random features of several new networks for every iteration: RFAD (Loo et al., NeurIPS 2022).

With weights of the law "kernel" and no normalisation the kernel is, on average over networks, the one of the network's
infinitely wide likeness (its NNGP kernel).
"""

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from ddpipe.context import Context
from ddpipe.networks import Classifier, initialise_
from ddpipe.randomness import Streams
from ddpipe.settings.students import ensemble as record
from ddpipe.students.kernel import Features
from ddpipe.students.stateless import Stateless
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic


class Networks(nn.Module):
    """Several networks of one architecture as one, of which nothing is learned."""

    def __init__(self, network: Classifier, size: int):
        super().__init__()
        self.members = nn.ModuleList([deepcopy(network) for _ in range(size)]).requires_grad_(False)

    def initialise_(self, rng: torch.Generator) -> None:
        for network in self.members:
            initialise_(network, rng)

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, F): all their features, divided by the root of their number."""
        found = torch.cat([network.embed(images) for network in self.members], 1)  # type: ignore[operator]
        return found / math.sqrt(found.shape[1])


class Ensemble(Stateless):
    def __init__(self, config: record.EnsembleStudents, network: Classifier):
        self.config, self.networks = config, Networks(network, config.networks)

    def next(self, synthetic: Synthetic, rng: Streams, iteration: int) -> Student:
        config = self.config
        self.networks.train().initialise_(rng("students.init"))
        return Student(number=iteration, kernel=Features(self.networks, config.chunk, config.scale, config.shift))


def make(config: record.EnsembleStudents, context: Context) -> Ensemble:
    return Ensemble(config, context.network)
