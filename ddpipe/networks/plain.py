"""Layers with ReLUs and nothing else, whose limit of infinite width has a kernel: KIP's fully connected networks,
those of convolutions without pooling, and Myrtle's (Nguyen et al., 2021)."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from ddpipe.errors import UserError
from ddpipe.networks.classifier import Classifier, Conv2d, Linear


class Plain(Classifier):
    """`depth` dense layers or 3x3 convolutions with zeros around, each with a ReLU, then one linear layer.

    2x2 means follow the convolutions numbered in `pooled`, from 1. Features are the flattened last map, channel by
    channel, or its means. Weights are drawn by the law of kernels.
    """

    initialisation = "kernel"

    def __init__(
        self,
        channels: int,
        resolution: int,
        classes: int,
        layer: Literal["dense", "convolution"],
        depth: int,
        width: int,
        pooled: Sequence[int] = (),
        readout: Literal["flatten", "mean"] = "flatten",
    ):
        super().__init__()
        side = resolution >> len(pooled)  # every pooling halves and rounds down
        if side == 0:
            raise UserError(
                f"pooled: {len(pooled)} poolings of the network halve {resolution}x{resolution} images to nothing: use "
                "fewer"
            )
        dense = layer == "dense"
        inputs = channels * resolution**2 if dense else channels
        layers: list[nn.Module] = [nn.Flatten()] if dense else []
        for number in range(1, depth + 1):
            layers += [Linear(inputs, width) if dense else Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            layers += [nn.AvgPool2d(2)] if number in pooled else []
            inputs = width
        layers += [nn.AdaptiveAvgPool2d(1)] if readout == "mean" else []
        self.features = nn.Sequential(*layers)
        self.classifier = Linear(width * (1 if dense or readout == "mean" else side**2), classes)
