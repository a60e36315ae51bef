"""What all networks have in common: features, one linear layer on top, a choice of normalisation."""

from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal

from torch import Tensor, nn

from ddpipe.settings.limit import Limit

Norm = Literal["instance", "batch", "none", "flax"]  # flax: batch norm of another kind and place, convnet.py
Initialisation = Literal["default", "he", "xavier", "lecun", "kernel", "kaiming"]


class Conv2d(nn.Conv2d):
    """torch's convolution, its weights not yet set: the constructor draws no random number."""

    def reset_parameters(self) -> None:
        """`initialise_` does it, from a named generator."""


class Linear(nn.Linear):
    """torch's linear layer, its weights not yet set: the constructor draws no random number."""

    def reset_parameters(self) -> None:
        """`initialise_` does it, from a named generator."""


class Classifier(nn.Module):
    """A network whose last layer is linear: logits = classifier(embed(images)).

    `initialisation` names the law by which `initialise_` fills convolutions and linear layers.
    """

    initialisation: Initialisation = "default"
    bends: ClassVar[tuple[type[nn.Module], ...]] = (nn.ReLU,)  # layers that end in a nonlinearity
    limit: Limit | None = None  # what it is at infinite width, where that has a kernel
    features: nn.Sequential
    classifier: nn.Linear

    def embed(self, images: Tensor) -> Tensor:  # (n, c, h, w) -> (n, F)
        """The features that enter the last linear layer."""
        return self.features(images).flatten(1)

    def layers(self) -> Iterable[nn.Module]:
        """What `embed` applies, one after another."""
        return self.features

    def maps(self, images: Tensor) -> Iterator[Tensor]:  # (n, c, h, w) -> (n, ...) each
        """The map behind every nonlinearity, from the first on, each before it is pooled; last of all `embed`'s."""
        for layer in self.layers():
            images = layer(images)
            if isinstance(layer, self.bends):
                yield images
        yield images.flatten(1)

    def forward(self, images: Tensor) -> Tensor:  # (n, c, h, w) -> (n, K)
        return self.classifier(self.embed(images))


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """The affine normalisation layer called `norm`.

    "instance" is group normalisation with one channel a group, as in all official codes of the field: unlike torch's
    InstanceNorm2d it has a learnable scale and shift.
    """
    layers = {
        "instance": lambda: nn.GroupNorm(channels, channels),
        "batch": lambda: nn.BatchNorm2d(channels),
        "none": nn.Identity,
    }
    return layers[norm]()
