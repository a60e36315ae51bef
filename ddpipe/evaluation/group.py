"""Networks that are trained at the same time on the same set: one as it is, or several as one computation.

What a small network wastes on an accelerator is the time between kernels; several share it.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap

from ddpipe import networks
from ddpipe.synthetic.batch import Batch
from ddpipe.training import autocast, loss_of


class Single:
    """A group of one; the same interface as `Stack`, without its first axis."""

    size = 1

    def __init__(self, network: networks.Classifier, precision: str = "float32"):
        self.network, self.loss = network, loss_of(network, precision)

    def parameters(self) -> list[Tensor]:
        return list(self.network.parameters())

    def initialise_(self, rngs: Sequence[torch.Generator]) -> None:
        networks.initialise_(self.network, rngs[0])

    def members(self) -> Iterator[networks.Classifier]:
        yield self.network

    def join(self, feeds: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
        return feeds[0]


class Stack:
    """T networks of one architecture, their parameters and buffers stacked along a new first axis.

    Each sees images of its own and learns as it would alone, up to rounding; batch normalisation keeps to the batch of
    its network.

    Args:
        network: the architecture; its own tensors are lent to one member after another.
    """

    def __init__(self, network: networks.Classifier, size: int, precision: str = "float32"):
        self.network, self.size, self.precision = network, size, precision
        self.weights = {name: self._stacked(p).requires_grad_() for name, p in network.named_parameters()}
        self.buffers = {name: self._stacked(b) for name, b in network.named_buffers()}

    def _stacked(self, tensor: Tensor) -> Tensor:
        return tensor.detach().expand(self.size, *tensor.shape).clone()  # T ...

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every tensor of the network beside those of the members."""
        for name, parameter in self.network.named_parameters():
            yield parameter, self.weights[name]
        for name, buffer in self.network.named_buffers():
            yield buffer, self.buffers[name]

    def parameters(self) -> list[Tensor]:
        """In the network's order, each (T, ...)."""
        return list(self.weights.values())

    @torch.no_grad()
    def initialise_(self, rngs: Sequence[torch.Generator]) -> None:
        """Fresh weights, those of each network from its own generator."""
        for number, rng in enumerate(rngs):
            networks.initialise_(self.network, rng)
            for own, stacked in self._pairs():
                stacked[number] = own

    def members(self) -> Iterator[networks.Classifier]:
        """The networks one after another, each lent until the next is asked for."""
        for number in range(self.size):
            with torch.no_grad():
                for own, stacked in self._pairs():
                    own.copy_(stacked[number])
            yield self.network

    def join(self, feeds: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
        """The batches of the T networks as one: images (T, n, c, h, w), targets (T, n, K)."""
        for parts in zip(*feeds, strict=True):
            yield Batch(torch.stack([part.images for part in parts]), torch.stack([part.targets for part in parts]))

    def logits(self, images: Tensor) -> Tensor:
        """(T, n, c, h, w) -> (T, n, K)."""

        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], own: Tensor) -> Tensor:
            return functional_call(self.network, (weights, buffers), (own,))

        return vmap(one)(self.weights, self.buffers, images)

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """The sum of the networks' mean cross-entropies, (): its gradient is each one's own."""
        with autocast(self.precision, images.device):
            logits = self.logits(images)
        return self.size * F.cross_entropy(logits.flatten(0, 1).to(targets.dtype), targets.flatten(0, 1))
