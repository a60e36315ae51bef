"""The AlexNet for small images of Dataset Distillation on CIFAR-10 (Wang et al. 2018, their AlexCifarNet)."""

from typing import Literal

from torch import nn

from ddpipe.networks.classifier import Classifier, Conv2d, Linear

WIDTH = 64


class AlexNet(Classifier):
    """Two 5x5 convolutions with maximum pooling and local response normalisation, then three linear layers.

    Pooling precedes the normalisation in the first block and follows it in the second. Each pooling halves the map and
    rounds up, so every resolution will do. Parameters in the official order: weight and bias of each layer. Features
    are the 192 numbers before the last layer.
    """

    def __init__(
        self,
        channels: int,
        resolution: int,
        classes: int,
        initialisation: Literal["default", "xavier"] = "default",
    ):
        super().__init__()
        self.initialisation = initialisation
        side = (resolution + 3) // 4
        self.features = nn.Sequential(
            Conv2d(channels, WIDTH, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.LocalResponseNorm(4, alpha=0.001 / 9, beta=0.75, k=1),
            Conv2d(WIDTH, WIDTH, 5, padding=2),
            nn.ReLU(),
            nn.LocalResponseNorm(4, alpha=0.001 / 9, beta=0.75, k=1),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Flatten(),
            Linear(WIDTH * side**2, 384),
            nn.ReLU(),
            Linear(384, 192),
            nn.ReLU(),
        )
        self.classifier = Linear(192, classes)
