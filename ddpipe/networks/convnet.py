"""ConvNet-d, the network of nearly all distillation papers (Gidaris & Komodakis 2018; survey section 6.1)."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ddpipe.errors import UserError
from ddpipe.networks.block import block, written_out
from ddpipe.networks.classifier import Classifier, Conv2d, Linear, Norm, normalisation
from ddpipe.networks.flax import FlaxBatchNorm


class ConvNet(Classifier):
    """`depth` blocks of 3x3 convolution, normalisation, ReLU and 2x2 average pooling, then one linear layer.

    Parameters in the official order: weight and bias of convolution and normalisation block by block, then of the
    linear layer. Features are the flattened last map, channel by channel.

    `first_padding` pads the first convolution; left out it is 3 for images of 28x28, which makes them 32x32, else 1.
    With `norm` "flax" the input of every block but the first is normalised, and nothing behind a convolution (FRePo).
    `width` may be one number a block; `prepended` puts one more convolution and ReLU of the first width in front.
    """

    def __init__(
        self,
        channels: int,
        resolution: int,
        classes: int,
        depth: int = 3,
        width: int | Sequence[int] = 128,
        norm: Norm = "instance",
        first_padding: int | None = None,
        prepended: bool = False,
        initialisation: Literal["default", "lecun", "kernel"] = "default",
    ):
        super().__init__()
        self.initialisation = initialisation
        self.widths = widths = [width] * depth if isinstance(width, int) else list(width)
        if first_padding is None:
            first_padding = 3 if resolution == 28 else 1
        side = (resolution + 2 * first_padding - 2) >> depth  # every pooling halves and rounds down
        if side == 0:
            raise UserError(
                f"depth {depth} of the convnet halves {resolution}x{resolution} images to nothing: lower its depth"
            )
        layers: list[nn.Module] = []
        inputs, padding = channels, first_padding
        if prepended:
            layers += [Conv2d(inputs, widths[0], 3, padding=padding), nn.ReLU()]
            inputs, padding = widths[0], 1
        for number, outputs in enumerate(widths):
            layers += [FlaxBatchNorm(inputs)] if norm == "flax" and number else []
            layers += [
                Conv2d(inputs, outputs, 3, padding=padding),
                normalisation("none" if norm == "flax" else norm, outputs),
                nn.ReLU(),
                nn.AvgPool2d(2),
            ]
            inputs, padding = outputs, 1
        self.features = nn.Sequential(*layers)
        self.classifier = Linear(inputs * side**2, classes)

    def embed(self, images: Tensor) -> Tensor:
        """As `features`; where a gradient will be differentiated, instance norm, ReLU and pooling are in one."""
        if not written_out(images, self.widths[0]):
            return super().embed(images)
        layers = iter(self.features)
        for layer in layers:
            if isinstance(layer, nn.GroupNorm):
                images = block(images, layer.weight, layer.bias, layer.eps)
                next(layers), next(layers)  # its ReLU and pooling
            else:
                images = layer(images)
        return images.flatten(1)
