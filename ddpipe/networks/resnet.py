"""Residual networks for small images (He et al. 2016), as the field's official codes define them.

They differ from torchvision's: the stem is a 3x3 convolution of stride 1 without max-pooling, the widths are free, and
strides may be replaced by average pooling (`downsampling="avgpool"`, the ResNet18_AP of the DC code).
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ddpipe.errors import UserError
from ddpipe.networks.classifier import Classifier, Conv2d, Initialisation, Linear, Norm, normalisation

Downsampling = Literal["stride", "avgpool"]


class Residual(nn.Module):
    """One residual block: relu(residual(x) + shortcut(x)), where `kernels` are the sizes of its convolutions.

    A halving block halves in its first 3x3 convolution and in its shortcut: by the stride, or by pooling what a
    convolution of stride 1 yields (after the ReLU in the residual, before the normalisation in the shortcut).
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, kernels: Sequence[int], halve: bool, norm: Norm, pool: bool
    ):
        super().__init__()
        stride = 2 if halve and not pool else 1
        widths = [inputs, *[width] * (len(kernels) - 1), outputs]
        layers: list[nn.Module] = []
        for i, kernel in enumerate(kernels):
            here = i == kernels.index(3)
            layers.append(
                Conv2d(widths[i], widths[i + 1], kernel, stride if here else 1, padding=kernel // 2, bias=False)
            )
            layers.append(normalisation(norm, widths[i + 1]))
            if i < len(kernels) - 1:
                layers.append(nn.ReLU())
            if here and halve and pool:
                layers.append(nn.AvgPool2d(2))
        self.residual = nn.Sequential(*layers)
        self.shortcut = nn.Sequential()
        if halve or inputs != outputs:
            self.shortcut.append(Conv2d(inputs, outputs, 1, stride, bias=False))
            if halve and pool:
                self.shortcut.append(nn.AvgPool2d(2))
            self.shortcut.append(normalisation(norm, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x))


class ResNet(Classifier):
    """A stem and one stage of residual blocks for each width; every stage but the first halves the map.

    "basic" blocks have two 3x3 convolutions, "bottleneck" blocks 1x1, 3x3, 1x1 with four times the width at the end.
    Features are the global average of the last map; with `downsampling="avgpool"` the flattened last map.

    Raises UserError where the last map is nothing, or one pixel under instance norm: both ways of the last stage end in
    a normalisation, which leaves of a single pixel its shift alone.
    """

    bends = (nn.ReLU, Residual)

    def __init__(
        self,
        channels: int,
        resolution: int,
        classes: int,
        blocks: Sequence[int],
        block: Literal["basic", "bottleneck"] = "basic",
        widths: Sequence[int] = (64, 128, 256, 512),
        norm: Norm = "instance",
        downsampling: Downsampling = "stride",
        initialisation: Initialisation = "default",
    ):
        super().__init__()
        pool = downsampling == "avgpool"
        halvings = len(widths) - 1
        side = resolution >> halvings if pool else -(-resolution >> halvings)  # strides round up
        if side == 0:
            raise UserError(
                f"{len(widths)} stages with downsampling avgpool of the resnet halve {resolution}x{resolution} "
                "images to nothing: use fewer stages"
            )
        if side == 1 and norm == "instance":
            raise UserError(
                f"{len(widths)} stages of the resnet halve {resolution}x{resolution} images to 1x1, of which instance "
                "norm leaves nothing, so no logit depends on the image: set its norm to batch, or use fewer stages"
            )
        self.initialisation = initialisation
        kernels, expansion = ((3, 3), 1) if block == "basic" else ((1, 3, 1), 4)
        self.stem = nn.Sequential(
            Conv2d(channels, widths[0], 3, padding=1, bias=False), normalisation(norm, widths[0]), nn.ReLU()
        )
        self.stages = nn.Sequential()
        inputs = widths[0]
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            for i in range(count):
                halve = stage > 0 and i == 0
                self.stages.append(Residual(inputs, width, width * expansion, kernels, halve, norm, pool))
                inputs = width * expansion
        self.pooling = nn.Identity() if pool else nn.AdaptiveAvgPool2d(1)
        self.classifier = Linear(inputs * side**2 if pool else inputs, classes)

    def layers(self) -> Iterable[nn.Module]:
        return (*self.stem, *self.stages, self.pooling)

    def embed(self, images: Tensor) -> Tensor:
        return self.pooling(self.stages(self.stem(images))).flatten(1)
