"""KFS's factorisation (Lee, Lee and Hwang, 2022): latent codes of each class, each through every decoder.

The decoders belong to all classes, so a further image costs a code, which is far smaller than it. Nothing but this idea
is published; decoders and start are designed here. A decoder is transposed 4x4 convolutions of stride 2 and padding 1,
each of which doubles the side, with ReLUs between them and a linear output in the run's pixel space.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe.context import Context
from ddpipe.datasets.resident import check_images
from ddpipe.settings.shapes import Shape
from ddpipe.settings.synthetic import decoder as record
from ddpipe.settings.synthetic.decoder import KERNEL
from ddpipe.synthetic.synthetic import Synthetic
from ddpipe.training.batch import Batch

SPREAD = 0.5  # standard deviation of the codes' start


class Layer(NamedTuple):
    """A layer of a decoder; a leading axis D makes it those of D decoders."""

    weight: Tensor  # (i, o, 4, 4), inputs first as torch has it for transposed convolutions
    bias: Tensor  # (o,)


def decoded(codes: Tensor, layers: Sequence[Layer], side: Sequence[int]) -> Tensor:
    """Codes (n, z, s, s) through one decoder: images (n, c, h, w), the middle of its output; h and w are `side`."""
    x = codes
    for number, (weight, bias) in enumerate(layers):
        x = F.conv_transpose2d(x.relu() if number else x, weight, bias, stride=2, padding=1)
    (top, height), (left, width) = (((of - to) // 2, to) for of, to in zip(x.shape[-2:], side, strict=True))
    return x[..., top : top + height, left : left + width]


class Decoder(Synthetic):
    """V = B * D images: B codes, class by class, each through D decoders.

    Address v is code v // D through decoder v % D.

    Args:
        codes: (B, z, s, s) start values.
        classes: (B,) class of each code, ascending.
        layers: start values of the decoders, layer by layer, with a leading axis D.
        side: h and w of the images.
        num_classes: K.
    """

    def __init__(self, codes: Tensor, classes: Tensor, layers: Sequence[Layer], side: Sequence[int], num_classes: int):
        self.decoders = len(layers[0].weight)
        super().__init__(classes.repeat_interleave(self.decoders), num_classes, codes)
        self.side = tuple(side)
        self.latents = nn.Parameter(codes.detach().clone())
        self.weights = nn.ParameterList(layer.weight.detach().clone() for layer in layers)
        self.biases = nn.ParameterList(layer.bias.detach().clone() for layer in layers)

    def through(self, number: int, codes: Tensor) -> Tensor:
        """Codes (n, z, s, s) through decoder `number`."""
        layers = [Layer(w[number], b[number]) for w, b in zip(self.weights, self.biases, strict=True)]
        return decoded(codes, layers, self.side)

    def decode(self, index: Tensor | None = None) -> Batch:
        if index is None:
            images = [self.through(number, self.latents) for number in range(self.decoders)]
            return Batch(torch.stack(images, 1).flatten(0, 1), self.targets)
        codes, decoders = index // self.decoders, index % self.decoders

        def shown(number: int, rows: Tensor) -> Tensor:
            return self.through(number, self.latents[self.at(codes[rows])])

        return Batch(self.by_part(decoders, shown), self.targets[self.at(index)])

    def ready(self, addresses: Sequence[Tensor]) -> Sequence[Tensor]:
        return addresses

    def groups(self) -> dict[str, list[Tensor]]:
        return {"codes": [self.latents], "decoders": [*self.weights, *self.biases]}

    def codes(self) -> dict[str, Tensor]:
        """`codes`, and of each layer, counted from 1, `weight1` and `bias1` of all decoders: `decoded` takes these."""
        weights = {f"weight{number}": weight.detach() for number, weight in enumerate(self.weights, 1)}
        biases = {f"bias{number}": bias.detach() for number, bias in enumerate(self.biases, 1)}
        return {"codes": self.latents.detach()} | weights | biases


def make(config: record.Decoder, context: Context) -> Decoder:
    """Normal codes, and decoders as PyTorch's layers begin."""
    real, ipc = context.real, context.ipc
    check_images(real.class_index, ipc)
    draw, device, num_classes = context.rng("synthetic.init"), real.labels.device, len(real.class_index)
    channels, *side = real.batch(torch.zeros(1, dtype=torch.int64)).shape[1:]
    shape = Shape(channels, side[0], num_classes)
    classes = torch.arange(num_classes).repeat_interleave(config.held(shape, ipc))
    codes = SPREAD * torch.randn(len(classes), config.channels, config.side, config.side, generator=draw)
    layers = initial(config, shape, draw)
    on_device = [Layer(*(tensor.to(device) for tensor in layer)) for layer in layers]
    return Decoder(codes.to(device), classes, on_device, side, num_classes)


def initial(config: record.Decoder, shape: Shape, rng: torch.Generator) -> list[Layer]:
    """PyTorch's default law for transposed convolutions: +-1 / sqrt(fan_in), counted at their outputs."""
    layers, before = [], config.channels
    for number in range(config.layers(shape), 0, -1):
        after = config.width if number > 1 else shape.channels
        bound = 1 / math.sqrt(after * KERNEL**2)
        sizes = (config.decoders, before, after, KERNEL, KERNEL), (config.decoders, after)
        layers.append(Layer(*(torch.empty(size).uniform_(-bound, bound, generator=rng) for size in sizes)))
        before = after
    return layers
