"""Architectures: `networks:` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ddpipe.settings.base import Layers, Settings, needed
from ddpipe.settings.bounds import Few, Switch
from ddpipe.settings.limit import Limit


class ConvNet(Settings):
    kind: Literal["convnet"]
    depth: Few = 3
    width: Few | tuple[Few, ...] = 128  # a list: of each block (FRePo doubles it)
    # flax: batch norm before every convolution but the first, with flax's statistics (FRePo, for learning)
    norm: Literal["instance", "batch", "none", "flax"] = "instance"
    first_padding: Few | None = None  # of the first convolution; left out: 3 for 28x28 images, else 1
    prepended: Switch = False  # one more convolution and ReLU in front of the blocks, without pooling (KIP)
    # kernel: the Gaussian law of KIP's and RFAD's kernels; lecun: flax's default, FRePo
    initialisation: Literal["default", "lecun", "kernel"] = "default"

    def stated(self) -> dict[str, str]:
        own = ("first_padding", "prepended") if self.initialisation == "kernel" else ()  # KIP's and RFAD's differ there
        return needed("depth", "width", "norm", "initialisation", *own)

    @model_validator(mode="after")
    def consistent(self) -> "ConvNet":
        if isinstance(self.width, tuple) and len(self.width) != self.depth:
            raise ValueError(f"width must be one number, or one a block: {self.depth}, not {len(self.width)}")
        return self

    @property
    def limit(self) -> Limit | None:
        """What it is at infinite width; None where that has no kernel."""
        if (self.norm, self.initialisation, self.first_padding) != ("none", "kernel", 1):
            return None
        convolutions = self.depth + self.prepended
        return Limit("convolution", convolutions, tuple(range(1 + self.prepended, convolutions + 1)))


class LeNet(Settings):
    """The network of DD's and LD's MNIST rows."""

    kind: Literal["lenet"]
    initialisation: Literal["default", "xavier"] = "default"  # xavier: DD; default: LD

    def stated(self) -> dict[str, str]:
        return needed("initialisation")


class AlexNet(Settings):
    """The network of DD's and LD's CIFAR-10 rows (their AlexCifarNet)."""

    kind: Literal["alexnet"]
    initialisation: Literal["default", "xavier"] = "default"

    def stated(self) -> dict[str, str]:
        return needed("initialisation")


class ResNet(Settings):
    kind: Literal["resnet"]
    block: Literal["basic", "bottleneck"] = "basic"
    blocks: Layers
    widths: Layers = (64, 128, 256, 512)
    norm: Literal["instance", "batch"] = "instance"
    downsampling: Literal["stride", "avgpool"] = "stride"
    initialisation: Literal["default", "he"] = "default"

    def stated(self) -> dict[str, str]:
        return needed("block", "widths", "norm", "downsampling", "initialisation")

    @model_validator(mode="after")
    def consistent(self) -> "ResNet":
        if len(self.blocks) != len(self.widths):
            raise ValueError(
                f"blocks and widths must have one number a stage each, not {len(self.blocks)} and {len(self.widths)}"
            )
        return self


class DenseNet(Settings):
    kind: Literal["densenet"]
    blocks: Layers = (6, 12, 24, 16)
    growth: Few = 12
    norm: Literal["batch", "instance"] = "batch"

    def stated(self) -> dict[str, str]:
        return needed("blocks", "growth", "norm")


class Learner(Settings):
    """The networks that GTN's generated batches train; batch norm by the mean alone."""

    kind: Literal["learner"]
    widths: Layers
    halved: Layers  # the convolutions, counted from 1, that halve the maps
    halving: Literal["pool", "stride"]
    hidden: Few | None = None  # width of a linear layer before the last; null: the means of the maps enter the last

    def stated(self) -> dict[str, str]:
        return needed("hidden")

    @model_validator(mode="after")
    def consistent(self) -> "Learner":
        if max(self.halved) > len(self.widths):
            raise ValueError(f"halved must number some of the {len(self.widths)} widths, from 1 on, not {self.halved}")
        return self


class Plain(Settings):
    """Layers with ReLUs and nothing else, for kernels (KIP): fully connected, or convolutions as they are pooled."""

    kind: Literal["plain"]
    layer: Literal["dense", "convolution"]
    depth: Few  # layers with a ReLU
    width: Few = 1024
    pooled: tuple[Few, ...] = ()  # the convolutions, counted from 1, that 2x2 means follow
    readout: Literal["flatten", "mean"] = "flatten"  # what the last layer sees of the maps

    def stated(self) -> dict[str, str]:
        return needed("width", *(("pooled", "readout") if self.layer == "convolution" else ()))

    @model_validator(mode="after")
    def consistent(self) -> "Plain":
        if self.layer == "dense" and (self.pooled or self.readout == "mean"):
            raise ValueError("pooled and readout are for convolutions; leave them out")
        if list(self.pooled) != sorted({number for number in self.pooled if number <= self.depth}):
            raise ValueError(
                f"pooled must number some of the {self.depth} convolutions, from 1 on, upwards, not {self.pooled}"
            )
        return self

    @property
    def limit(self) -> Limit:
        """What it is at infinite width."""
        return Limit(self.layer, self.depth, self.pooled, self.readout)


Network = Annotated[ConvNet | ResNet | DenseNet | LeNet | AlexNet | Learner | Plain, Field(discriminator="kind")]


# what to say of any other
UNLIMITED = (
    "has no kernel at infinite width; name one of kind plain, or a convnet with norm none, initialisation kernel and "
    "first_padding 1"
)


def limit(network: Network) -> Limit | None:
    """What a network is at infinite width; None where that has no kernel."""
    found: Limit | None = getattr(network, "limit", None)
    return found
