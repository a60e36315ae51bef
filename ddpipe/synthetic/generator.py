"""Generative Teaching Networks (Such et al., ICML 2020): a generator makes every batch of a course from learned noise.

Batch t of T is G([z_t, classes]) with noise z_t (B, Z) of its own, learned; the examples 0, 1, ... of the whole course
have the classes 0, ..., K - 1 over and over. The generator's batch norm always takes the statistics of its batch, so an
example is what it is in its batch alone, and `decode` makes whole batches.
"""

from collections.abc import Iterator, Sequence
from itertools import cycle

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ddpipe.context import Context
from ddpipe.datasets.resident import check_images
from ddpipe.errors import UserError
from ddpipe.networks import initialise_
from ddpipe.networks.weightnorm import SLOPE, WeightNormConv2d, WeightNormLinear
from ddpipe.settings.synthetic import generator as record
from ddpipe.synthetic.synthetic import Synthetic
from ddpipe.training.batch import Batch

SCALE = 2.0  # times a hyperbolic tangent: the range of standardised pixels


class Network(nn.Module):
    """Two linear layers, then twice nearest upsampling, reflection and a 3x3 convolution; weights are normalised.

    Parameters in the official order. Images whose side is no multiple of 4 are cut from larger ones.

    Args:
        inputs: noise and classes.
        hidden: width of the first layer.
        maps: those that enter the first and the second convolution.
    """

    initialisation = "kaiming"

    def __init__(self, inputs: int, hidden: int, maps: tuple[int, int], channels: int, resolution: int):
        super().__init__()
        first, second = maps
        self.resolution, side = resolution, -(-resolution // 4)
        values = first * side**2
        self.layers = nn.Sequential(
            WeightNormLinear(inputs, hidden, bias=False),
            nn.BatchNorm1d(hidden, track_running_stats=False),
            nn.LeakyReLU(SLOPE),
            WeightNormLinear(hidden, values, bias=False),
            nn.BatchNorm1d(values, track_running_stats=False),
            nn.LeakyReLU(SLOPE),
            nn.Unflatten(1, (first, side, side)),
            nn.Upsample(scale_factor=2),
            nn.ReflectionPad2d(1),
            WeightNormConv2d(first, second, 3, bias=False),
            nn.BatchNorm2d(second, track_running_stats=False),
            nn.LeakyReLU(SLOPE),
            nn.Upsample(scale_factor=2),
            nn.ReflectionPad2d(1),
            WeightNormConv2d(second, channels, 3),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, inputs) -> (B, c, h, w)
        return SCALE * self.layers(x)[..., : self.resolution, : self.resolution]


class Generator(Synthetic):
    """V = T * B generated images. Addresses lie class by class, and within a class as in the course.

    Args:
        network: the generator, its weights set.
        noise: (T, B, Z) start values.
        num_classes: K.
    """

    order: Tensor  # (V,) place in the course of each address

    def __init__(self, network: Network, noise: Tensor, num_classes: int):
        self.steps, self.batch = noise.shape[:2]
        classes = torch.arange(self.steps * self.batch) % num_classes
        order = classes.argsort(stable=True)
        super().__init__(classes[order], num_classes, noise)
        self.register_buffer("order", order.to(noise.device))
        self.places = order  # the same on the host
        self.network, self.noise = network, nn.Parameter(noise.detach().clone())

    def generate(self, step: int) -> Tensor:
        """The images of batch `step`, (B, c, h, w), as in the course."""
        num_classes = self.targets.shape[1]
        places = step * self.batch + torch.arange(self.batch, device=self.noise.device)
        return self.network(
            torch.cat([self.noise[step], F.one_hot(places % num_classes, num_classes).to(self.noise)], 1)
        )

    def recomputed(self, step: int) -> Tensor:
        """The same; backwards the batch is generated once more, so that no graph of many batches has to be held."""
        return checkpoint(self.generate, step, use_reentrant=False, preserve_rng_state=False)

    def decode(self, index: Tensor | None = None) -> Batch:
        """Images and targets at the addresses `index`; of the whole set, in order, when left out."""
        order = self.places if index is None else self.places[index]
        steps, places = order // self.batch, order % self.batch

        def shown(step: int, rows: Tensor) -> Tensor:
            return self.recomputed(step)[self.at(places[rows])]

        return Batch(self.by_part(steps, shown), self.targets if index is None else self.targets[self.at(index)])

    def ready(self, addresses: Sequence[Tensor]) -> Sequence[Tensor]:
        return addresses

    def divided(self, count: int) -> Iterator[Tensor]:
        """Addresses of the course in `count` equal parts, over and over: one batch a block where there are T."""
        if self.steps % count:
            better = max(n for n in range(1, count) if self.steps % n == 0)
            raise UserError(
                f"objective.blocks: {self.steps} generated batches do not divide into {count} blocks; "
                f"set it to {better}"
            )
        blocks = self.places // self.batch // (self.steps // count)
        return cycle([(blocks == block).nonzero().flatten() for block in range(count)])

    def groups(self) -> dict[str, list[Tensor]]:
        return {"generator": list(self.network.parameters()), "curriculum": [self.noise]}

    def codes(self) -> dict[str, Tensor]:
        weights = {name.removeprefix("layers."): weight.detach() for name, weight in self.network.named_parameters()}
        return {"noise": self.noise.detach()} | {f"generator.{name}": weight for name, weight in weights.items()}


def make(config: record.Generator, context: Context) -> Generator:
    """Weights after He et al. 2015, standard normal noise."""
    real, draw = context.real, context.rng("synthetic.init")
    check_images(real.class_index, context.ipc)
    channels, resolution, _ = real.batch(torch.zeros(1, dtype=torch.int64)).shape[1:]
    num_classes, device = len(real.class_index), real.labels.device
    network = Network(config.noise + num_classes, config.hidden, config.maps, channels, resolution)
    noise = torch.randn(config.batches, config.batch, config.noise, generator=draw)
    return Generator(initialise_(network, draw).to(device), noise.to(device), num_classes)
