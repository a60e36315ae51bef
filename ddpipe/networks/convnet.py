"""ConvNet-d, the network of nearly all distillation papers (Gidaris & Komodakis 2018; survey section 6.1)."""

from torch import Tensor, nn

from ddpipe.errors import UserError
from ddpipe.networks.classifier import Classifier, Conv2d, Linear, Norm, normalisation


class ConvNet(Classifier):
    """`depth` blocks of 3x3 convolution, normalisation, ReLU and 2x2 average pooling, then one linear layer.

    Parameters in the official order: weight and bias of convolution and normalisation block by block, then of the
    linear layer. Features are the flattened last map, channel by channel.

    `first_padding` pads the first convolution; left out it is 3 for images of 28x28, which makes them 32x32, else 1.
    """

    def __init__(
        self,
        channels: int,
        resolution: int,
        classes: int,
        depth: int = 3,
        width: int = 128,
        norm: Norm = "instance",
        first_padding: int | None = None,
    ):
        super().__init__()
        if first_padding is None:
            first_padding = 3 if resolution == 28 else 1
        side = (resolution + 2 * first_padding - 2) >> depth  # every pooling halves and rounds down
        if side == 0:
            raise UserError(
                f"depth {depth} of the convnet halves {resolution}x{resolution} images to nothing: lower its depth"
            )
        layers: list[nn.Module] = []
        for block in range(depth):
            layers += [
                Conv2d(width if block else channels, width, 3, padding=1 if block else first_padding),
                normalisation(norm, width),
                nn.ReLU(),
                nn.AvgPool2d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = Linear(width * side**2, classes)

    def embed(self, images: Tensor) -> Tensor:
        return self.features(images).flatten(1)
