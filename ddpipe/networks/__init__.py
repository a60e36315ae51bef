"""The networks that judge a distilled set: `create(settings, ...)` makes one with fresh weights."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ddpipe.networks.alexnet import AlexNet
from ddpipe.networks.classifier import Classifier
from ddpipe.networks.convnet import ConvNet
from ddpipe.networks.densenet import DenseNet
from ddpipe.networks.initialisation import initialise_
from ddpipe.networks.learner import Learner
from ddpipe.networks.lenet import LeNet
from ddpipe.networks.plain import Plain
from ddpipe.networks.resnet import ResNet
from ddpipe.networks.weightnorm import MeanOnlyBatchNorm
from ddpipe.settings import Network
from ddpipe.settings.networks import limit

__all__ = ["KINDS", "Classifier", "build", "carries_statistics", "create", "has_batch_norm", "initialise_"]

KINDS: dict[str, Callable[..., Classifier]] = {
    "convnet": ConvNet,
    "resnet": ResNet,
    "densenet": DenseNet,
    "lenet": LeNet,
    "alexnet": AlexNet,
    "learner": Learner,
    "plain": Plain,
}


def build(
    settings: Network, channels: int, resolution: int, classes: int, device: str | torch.device = "cpu"
) -> Classifier:
    """The network described by `settings` for square images of `resolution` pixels, its tensors NOT yet set.

    Draws no random number (torch's own layers would, from the global state): `initialise_` or loaded weights must
    follow. Raises UserError where the images do not fit the network.
    """
    network = KINDS[settings.kind](channels, resolution, classes, **settings.model_dump(exclude={"kind"}))
    network.limit = limit(settings)
    return network.to(device)


def create(
    settings: Network,
    channels: int,
    resolution: int,
    classes: int,
    rng: torch.Generator,
    device: str | torch.device = "cpu",
) -> Classifier:
    """`build` and `initialise_` in one."""
    return initialise_(build(settings, channels, resolution, classes, device), rng)


def has_batch_norm(network: nn.Module) -> bool:
    """Whether the outputs of `network` for an image depend on the rest of the batch while it trains."""
    return any(isinstance(module, (_BatchNorm, MeanOnlyBatchNorm)) for module in network.modules())


def carries_statistics(network: nn.Module) -> bool:
    """Whether it is meant to be evaluated with the statistics of its last batch, and differentiated through them."""
    return any(isinstance(module, MeanOnlyBatchNorm) for module in network.modules())
