"""DenseNet-BC for small images (Huang et al. 2017), as the IDC code defines it: 3x3 stem without max-pooling."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ddpipe.errors import UserError
from ddpipe.networks.classifier import Classifier, Conv2d, Linear, Norm, normalisation


class DenseLayer(nn.Module):
    """`growth` new channels, put in front of the old ones.

    The order matters for equality with the official code: torchvision's DenseNet appends them behind.
    """

    def __init__(self, inputs: int, growth: int, norm: Norm):
        super().__init__()
        bottleneck = 4 * growth
        self.new = nn.Sequential(
            normalisation(norm, inputs),
            nn.ReLU(),
            Conv2d(inputs, bottleneck, 1, bias=False),
            normalisation(norm, bottleneck),
            nn.ReLU(),
            Conv2d(bottleneck, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:  # (n, c, h, w) -> (n, growth + c, h, w)
        return torch.cat([self.new(x), x], dim=1)


class DenseNet(Classifier):
    """Dense blocks of `blocks` layers; a transition between two of them halves the channels and the map.

    Features are the global average of the last map after normalisation and ReLU.

    Raises UserError where the last map is nothing, or one pixel under instance norm, which leaves its shift alone.
    """

    def __init__(
        self,
        channels: int,
        resolution: int,
        classes: int,
        blocks: Sequence[int] = (6, 12, 24, 16),
        growth: int = 12,
        norm: Norm = "batch",
    ):
        super().__init__()
        side = resolution >> (len(blocks) - 1)
        if side == 0:
            raise UserError(
                f"{len(blocks)} blocks of the densenet halve {resolution}x{resolution} images to nothing: "
                "use fewer blocks"
            )
        if side == 1 and norm == "instance":
            raise UserError(
                f"{len(blocks)} blocks of the densenet halve {resolution}x{resolution} images to 1x1, of which "
                "instance norm leaves nothing, so no logit depends on the image: set its norm to batch, or use fewer "
                "blocks"
            )
        width = 2 * growth
        layers: list[nn.Module] = [Conv2d(channels, width, 3, padding=1, bias=False)]
        for block, count in enumerate(blocks):
            if block:
                layers += [
                    normalisation(norm, width),
                    nn.ReLU(),
                    Conv2d(width, width // 2, 1, bias=False),
                    nn.AvgPool2d(2),
                ]
                width //= 2
            for _ in range(count):
                layers.append(DenseLayer(width, growth, norm))
                width += growth
        layers += [normalisation(norm, width), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
        self.features = nn.Sequential(*layers)
        self.classifier = Linear(width, classes)
