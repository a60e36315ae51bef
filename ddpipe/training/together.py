"""Networks that are trained at the same time: one as it is, or several as one computation.

What a small network wastes on an accelerator is the time between kernels; several share it. Evaluation and experts do.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from ddpipe import networks
from ddpipe.errors import out_of_memory
from ddpipe.settings import Criterion
from ddpipe.training.batch import Batch
from ddpipe.training.criteria import CRITERIA
from ddpipe.training.loop import Loss, loss_of
from ddpipe.training.precision import autocast


class Single:
    """A group of one; the same interface as `Stack`, without its first axis."""

    size = 1

    def __init__(
        self, network: networks.Classifier, precision: str = "float32", criterion: Criterion = "cross-entropy"
    ):
        self.network, self.loss = network, loss_of(network, precision, criterion)

    def parameters(self) -> list[Tensor]:
        return list(self.network.parameters())

    def initialise_(self, rngs: Sequence[torch.Generator]) -> None:
        networks.initialise_(self.network, rngs[0])

    def members(self) -> Iterator[networks.Classifier]:
        yield self.network

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, not copies."""
        return self.network.state_dict()

    def each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of one network's tensors as one of the group's."""
        return function

    def join(self, feeds: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
        return feeds[0]


class Stack:
    """T networks of one architecture, their parameters and buffers stacked along a new first axis.

    Each sees images of its own and learns as it would alone, up to rounding; batch normalisation keeps to the batch of
    its network.

    Args:
        network: the architecture; its own tensors are lent to one member after another.
    """

    def __init__(
        self,
        network: networks.Classifier,
        size: int,
        precision: str = "float32",
        criterion: Criterion = "cross-entropy",
    ):
        self.network, self.size, self.precision, self.measure = network, size, precision, CRITERIA[criterion]
        self.loss: Loss = self.joint_loss
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

    def tensors(self) -> dict[str, Tensor]:
        return {name: tensor.detach() for name, tensor in (self.weights | self.buffers).items()}

    def each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return vmap(function)

    def join(self, feeds: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
        """The batches of the T networks as one: images (T, n, c, h, w), targets (T, n, K)."""
        for parts in zip(*feeds, strict=True):
            yield Batch(torch.stack([part.images for part in parts]), torch.stack([part.targets for part in parts]))

    def logits(self, images: Tensor) -> Tensor:
        """(T, n, c, h, w) -> (T, n, K)."""

        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], own: Tensor) -> Tensor:
            return functional_call(self.network, (weights, buffers), (own,))

        return vmap(one)(self.weights, self.buffers, images)

    def joint_loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """The sum of the networks' mean losses, (): its gradient is each one's own."""
        with autocast(self.precision, images.device):
            logits = self.logits(images)
        return self.size * self.measure(logits.flatten(0, 1).to(targets.dtype), targets.flatten(0, 1))


def regroup(companies: Sequence[Sequence[int]], most: int | None) -> tuple[list[int], list[list[int]]]:
    """The networks to train, and the groups of them that have been trained once, but lost a member to damage.

    Such a group is trained again as a whole, as the bits of each depend on its company: unless it is larger than `most`
    (None: no bound), or more networks than are wanted now belonged to it.

    Args:
        companies: for each network that is wanted with whom it was trained; nobody where it is still to be trained.
    """
    lost = {number for number, group in enumerate(companies) if not group}
    again = {tuple(group) for group in companies if lost & set(group) and max(group) < len(companies)}
    groups = [list(group) for group in sorted(again) if len(group) <= (most or len(group))]
    return sorted(lost.union(*groups)), groups


Group = Single | Stack


def together(
    network: networks.Classifier, size: int, precision: str = "float32", criterion: Criterion = "cross-entropy"
) -> Group:
    """`size` networks like `network`, which is the first of them while it is the only one."""
    return Single(network, precision, criterion) if size == 1 else Stack(network, size, precision, criterion)


def sizes(most: int) -> list[int]:
    """1, 2, 4, ... and `most`."""
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), most]


def offered(most: int) -> str:
    """What `fastest` tries, in words."""
    return ", ".join(map(str, sizes(most)[:-1])) + f" and {most}"


def fastest(seconds: Callable[[int], float], most: int) -> int:
    """How many networks had better be trained at once: 1, 2, 4, ... or `most`, whichever takes the least time each.

    Whether company pays depends on the kernels that a device has for grouped convolutions, so it is tried.

    Args:
        seconds: of a few steps of as many networks as it is told. Where it runs out of memory, no more are tried.
    """
    best, least = 1, math.inf
    for size in sizes(most):
        try:
            each = seconds(size) / size
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not out_of_memory(error):
                raise
            break
        if each < least:
            best, least = size, each
    return best
