"""Kernel ridge regression with the kernel of an infinitely wide network: how KIP measures its sets.

The kernel of an image with those of the set takes the place of its features, and the regression that of the last layer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ddpipe import kernels, settings
from ddpipe.errors import UserError
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.rule import Rule
from ddpipe.networks import Classifier
from ddpipe.networks.classifier import Linear
from ddpipe.randomness import Streams
from ddpipe.settings.networks import UNLIMITED
from ddpipe.training.ridge import coefficients
from ddpipe.training.together import Group


class Machine(Classifier):
    """The regression as a network: its features are the kernel with the images of the set, (n, V) in float64."""

    images: Tensor

    def __init__(self, recursion: kernels.Recursion, chunk: int | None, images: Tensor, weights: Tensor):
        super().__init__()
        self.recursion, self.chunk = recursion, chunk
        self.register_buffer("images", images)
        self.classifier = Linear(len(weights), weights.shape[1], bias=False, dtype=weights.dtype, device=weights.device)
        self.classifier.weight.data.copy_(weights.T)

    def embed(self, images: Tensor) -> Tensor:
        return kernels.cross(self.recursion, images, self.images, self.chunk).double()


def make(protocol: settings.Kernel, flip: bool) -> "KernelRidge":
    return KernelRidge(protocol)


class KernelRidge(Rule):
    def __init__(self, config: settings.Kernel):
        self.config = config

    def gather(self, network: Classifier, size: int) -> Group:
        if network.limit is None:
            raise UserError(f"network: the network {UNLIMITED}")
        return super().gather(network, size)

    def fit(
        self, group: Group, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> Iterator[Classifier]:
        config, batch, limit = self.config, data.scores().fetch(torch.arange(data.size)), group.network.limit
        assert limit is not None, "gather has looked"
        for _ in streams:
            recursion = kernels.Recursion(limit, config.kernel)
            with torch.no_grad():
                own = kernels.own(recursion, batch.images, config.chunk)
                weights = coefficients(own, batch.targets, config.regularisation)
            passed()
            yield Machine(recursion, config.chunk, batch.images, weights)


# --- for programs that know nothing of ddpipe -------------------------------------------------------------------------


def exported(protocol: settings.Kernel, flip: bool, hints: Mapping[str, Tensor]) -> dict[str, Any]:
    return {key: getattr(protocol, key) for key in ("networks", "kernel", "regularisation")}


def words(rules: dict[str, Any], factorised: bool) -> list[str]:
    name = {"ntk": "neural tangent kernel", "nngp": "covariance of its outputs at random weights (NNGP)"}[
        rules["kernel"]
    ]
    return [
        f"No network is trained: the kernel is that of the network at infinite width, the {name}, its weights of "
        "variance 2 / fan-in and its biases of standard deviation 0.1 in the NTK parametrisation.",
        "Images are answered by the ridge regression of the scores (`targets`, less 1 / K where they are "
        "distributions) with this kernel on the images of the set.",
        f"The penalty is {rules['regularisation']:g} times the mean of the kernel's diagonal.",
    ]
