"""LeNet-5 with ReLU and maximum pooling (LeCun et al. 1998), the network of Dataset Distillation on MNIST."""

from typing import Literal

from torch import nn

from ddpipe.errors import UserError
from ddpipe.networks.classifier import Classifier, Conv2d, Linear

PADDING = {28: 2, 32: 0}  # resolution -> of the first convolution: both lead to maps of 5x5


class LeNet(Classifier):
    """Two blocks of 5x5 convolution, ReLU and 2x2 maximum pooling, then three linear layers.

    Parameters in the official order: weight and bias of each layer. Features are the 84 numbers before the last layer.
    """

    def __init__(
        self,
        channels: int,
        resolution: int,
        classes: int,
        initialisation: Literal["default", "xavier"] = "default",
    ):
        super().__init__()
        if resolution not in PADDING:
            raise UserError(
                f"the lenet takes images of 28x28 or 32x32, not {resolution}x{resolution}: use another network, or "
                "set the resolution of the dataset"
            )
        self.initialisation = initialisation
        self.features = nn.Sequential(
            Conv2d(channels, 6, 5, padding=PADDING[resolution]),
            nn.ReLU(),
            nn.MaxPool2d(2),
            Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            Linear(16 * 5**2, 120),
            nn.ReLU(),
            Linear(120, 84),
            nn.ReLU(),
        )
        self.classifier = Linear(84, classes)
