"""The learners of Generative Teaching Networks (Such et al., ICML 2020), which train well within a hundred steps."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from ddpipe.networks.classifier import Classifier
from ddpipe.networks.weightnorm import SLOPE, MeanOnlyBatchNorm, WeightNormConv2d, WeightNormLinear


class Learner(Classifier):
    """3x3 convolutions without bias, each followed by batch norm of the mean alone and a leaky ReLU; linear layers.

    Weights are normalised. Parameters in the official order: weight, bias if there is one, and gain of a layer, then
    the bias of its norm. Features are what enters the last linear layer.

    Args:
        widths: maps of each convolution.
        halved: the convolutions, counted from 1, after which maps are half as wide, rounded up.
        halving: by a convolution of stride 2, or by maximum pooling of 3x3 behind it.
        hidden: width of a linear layer before the last one; None: the mean of each map enters the last one.
    """

    initialisation = "kaiming"
    bends = (nn.LeakyReLU,)

    def __init__(
        self,
        channels: int,
        resolution: int,
        classes: int,
        widths: Sequence[int],
        halved: Sequence[int],
        halving: Literal["pool", "stride"],
        hidden: int | None,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        inputs, side = channels, resolution
        for number, outputs in enumerate(widths, start=1):
            halves = number in halved
            layers.append(WeightNormConv2d(inputs, outputs, 3, 1 + (halves and halving == "stride"), 1, bias=False))
            layers += [nn.MaxPool2d(3, stride=2, padding=1)] if halves and halving == "pool" else []
            layers += [MeanOnlyBatchNorm(outputs), nn.LeakyReLU(SLOPE)]
            inputs, side = outputs, -(-side // 2) if halves else side
        if hidden is None:
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        else:
            layers += [nn.Flatten(), WeightNormLinear(inputs * side**2, hidden)]
            layers += [MeanOnlyBatchNorm(hidden), nn.LeakyReLU(SLOPE)]
            inputs = hidden
        self.features = nn.Sequential(*layers)
        self.classifier = WeightNormLinear(inputs, classes)
