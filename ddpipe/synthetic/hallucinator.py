"""HaBa's factorisation (Liu et al., NeurIPS 2022): every base through every hallucinator; survey Eq. 36.

A hallucinator is a 3x3 convolution without padding, an affine map with a scale and a shift for every channel and
position, and a transposed 3x3 convolution back to the image's shape. Nothing in it is non-linear.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe.context import Context
from ddpipe.datasets.resident import check_images
from ddpipe.settings.synthetic import hallucinator as record
from ddpipe.synthetic.synthetic import Factorised
from ddpipe.training.batch import Batch, chunks

KERNEL = 3


class Weights(NamedTuple):
    """One hallucinator; a leading axis S makes them S of them. A base has b channels, an image c."""

    enc_weight: Tensor  # (c, b, 3, 3)
    enc_bias: Tensor  # (c,)
    scale: Tensor  # (c, h - 2, w - 2)
    shift: Tensor  # (c, h - 2, w - 2)
    dec_weight: Tensor  # (c, c, 3, 3), inputs first as torch has it for transposed convolutions
    dec_bias: Tensor  # (c,)


def hallucinate(bases: Tensor, weights: Weights) -> Tensor:
    """Bases (n, b, h, w) through one hallucinator: images (n, c, h, w) = dec(scale enc(base) + shift)."""
    features = F.conv2d(bases, weights.enc_weight, weights.enc_bias)  # n c h-2 w-2
    return F.conv_transpose2d(weights.scale * features + weights.shift, weights.dec_weight, weights.dec_bias)


class Hallucinator(Factorised):
    """V = B * S images: B bases, class by class, each through S hallucinators.

    Address v is base v // S through hallucinator v % S.

    Args:
        bases: (B, b, h, w) start values.
        classes: (B,) class of each base, ascending.
        weights: start values of the hallucinators, with a leading axis S.
        num_classes: K.
    """

    def __init__(self, bases: Tensor, classes: Tensor, weights: Weights, num_classes: int):
        styles, base = len(weights.scale), torch.arange(len(bases))
        super().__init__(classes.repeat_interleave(styles), num_classes, bases, base.repeat_interleave(styles))
        self.styles = styles
        self.bases = nn.Parameter(bases.detach().clone())
        self.weights = nn.ParameterDict({name: w.detach().clone() for name, w in weights._asdict().items()})

    def style(self, number: int) -> Weights:
        """Hallucinator `number`."""
        return Weights(**{name: stack[number] for name, stack in self.weights.items()})

    def decode(self, index: Tensor | None = None) -> Batch:
        """Images and targets at the addresses `index`; of the whole set, in order, when left out."""
        if index is None:
            images = [hallucinate(self.bases, self.style(number)) for number in range(self.styles)]
            return Batch(torch.stack(images, 1).flatten(0, 1), self.targets)
        bases, styles = index // self.styles, index % self.styles

        def shown(number: int, rows: Tensor) -> Tensor:
            return hallucinate(self.bases[self.at(bases[rows])], self.style(number))

        return Batch(self.by_part(styles, shown), self.targets[self.at(index)])

    def ready(self, addresses: Sequence[Tensor]) -> Sequence[Tensor]:
        return addresses

    def batches(self, rng: torch.Generator, batch: int | None) -> Iterator[Tensor]:
        """Addresses for one student: random batches of `batch` bases (None: all), each through one hallucinator."""
        for bases in chunks(len(self.bases), batch, rng):
            yield bases * self.styles + torch.randint(self.styles, (), generator=rng)

    def pairs(self, rng: torch.Generator, batch: int | None) -> Iterator[Tensor]:
        """Addresses (2, n): random batches of bases, each through two different hallucinators."""
        for bases in chunks(len(self.bases), batch, rng):
            yield bases * self.styles + torch.randperm(self.styles, generator=rng)[:2, None]

    def groups(self) -> dict[str, list[Tensor]]:
        return {"bases": [self.bases], "hallucinators": list(self.weights.values())}

    def codes(self) -> dict[str, Tensor]:
        return {"bases": self.bases.detach()} | {name: stack.detach() for name, stack in self.weights.items()}


def make(config: record.Hallucinator, context: Context) -> Hallucinator:
    """Random real images of each class as bases, and hallucinators as PyTorch's layers begin."""
    real = context.real
    count, key = config.takes(context.ipc)
    check_images(real.class_index, count, key or "ipc")
    draw, num_classes = context.rng("synthetic.init"), len(real.class_index)
    bases = torch.cat([real.sample(label, count, draw) for label in range(num_classes)])
    channels, *side = bases.shape[1:]
    if config.channels == 1:
        bases = bases.mean(1, keepdim=True)
    weights = initial(config.hallucinators, bases.shape[1], channels, side, draw)
    on_device = Weights(*(tensor.to(bases.device) for tensor in weights))
    return Hallucinator(bases, torch.arange(num_classes).repeat_interleave(count), on_device, num_classes)


def initial(styles: int, inputs: int, channels: int, side: list[int], rng: torch.Generator) -> Weights:
    """PyTorch's default law for both convolutions, +-1 / sqrt(fan_in); scale 1, shift 0."""
    affine = (styles, channels, *(length - KERNEL + 1 for length in side))

    def uniform(fan_in: int, *shape: int) -> Tensor:
        return torch.empty(styles, *shape).uniform_(-1, 1, generator=rng) / math.sqrt(fan_in)

    encoder, decoder = inputs * KERNEL**2, channels * KERNEL**2
    return Weights(
        uniform(encoder, channels, inputs, KERNEL, KERNEL),
        uniform(encoder, channels),
        torch.ones(affine),
        torch.zeros(affine),
        uniform(decoder, channels, channels, KERNEL, KERNEL),
        uniform(decoder, channels),
    )
