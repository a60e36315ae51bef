"""Gradient matching: DC (Zhao et al., ICLR 2021), DSA, DCC, Jiang et al. and IDC; survey Eq. 20-29.

The synthetic images of a class shall pull a network the way the real ones do:

1. for every class: draw a real batch and, for DSA, one augmentation shared by the real and the synthetic images;
2. take the gradient of the mean cross-entropy on both sides with respect to the network's weights;
3. add up the distances over classes and descend in the images, through the augmentation and the gradient.

DCC (Lee et al., ICML 2022; Eq. 25) compares the means over the classes of both sides instead, "joint"; Jiang et al.
(2022) add K times that distance to the sum over classes, "both", and the difference's length to every row, "magnitude".
IDC (Kim et al., ICML 2022) compares convolutions alone and takes a step after every class, "sequential": momentum moves
all images each time, so a class's are not where they were when the iteration began.

Differs from the official codes in four ways that leave the gradient as it is: all real gradients come first, because
going to and fro between large real and small synthetic batches costs some percent; classes whose images are few are
differentiated at once, each by weights of its own (lineup.py says how many); distances of one class each are
differentiated part by part, because classes share nothing but the network; one-dimensional weights, which some metrics
skip, are not differentiated at all. Where classes meet, a set too large for one graph is gone through twice: with v the
distance's derivative by a class's gradient g, the images' is that of <g, v>, which needs the graph of that class alone.
DCC's mean is that of whole batches of classes, as many as a graph may hold.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.networks import has_batch_norm
from ddpipe.networks.block import twice
from ddpipe.objectives.distances import (
    Part,
    class_distances,
    class_mean,
    compared,
    gradient_distance,
    multi_level_distance,
)
from ddpipe.objectives.lineup import Lineup, company, joined, runs
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.settings.objectives import gradient as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic


def network_gradient(
    network: nn.Module, parameters: Sequence[Tensor], images: Tensor, targets: Tensor, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Gradient of the mean cross-entropy with respect to `parameters`.

    Args:
        images: (n, c, h, w); targets: (n, K) distributions or (n,) class numbers.
        create_graph: keep the graph, so that the gradient can be differentiated with respect to the images.
    """
    with twice() if create_graph else nullcontext():
        loss = F.cross_entropy(network(images), targets)
    return torch.autograd.grad(loss, parameters, create_graph=create_graph)


def class_gradients(
    network: nn.Module, parameters: Sequence[Tensor], images: Tensor, targets: Tensor, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """`network_gradient` of k classes, each (k, ...): of one class as it is, of several as one computation.

    Args:
        images: (k, n, c, h, w); targets: (k, n, K) or (k, n). The network treats images one by one.
    """
    if len(images) == 1:
        alone = network_gradient(network, parameters, images[0], targets[0], create_graph)
        return tuple(g[None] for g in alone)
    own = {name: p.detach() for name, p in network.named_parameters()}
    chosen = {id(p) for p in parameters}
    differentiated = {name: own[name] for name, p in network.named_parameters() if id(p) in chosen}

    def gradient(images: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        def loss(weights: dict[str, Tensor]) -> Tensor:
            return F.cross_entropy(functional_call(network, own | weights, (images,)), targets)

        return tuple(grad(loss)(differentiated).values())

    with torch.set_grad_enabled(create_graph), twice():  # `grad` keeps a graph in any case
        return vmap(gradient)(images, targets)


def stacked(parts: Sequence[Part]) -> Part:
    """The gradients of all classes of these parts as those of one part."""
    return parts[0] if len(parts) == 1 else [torch.cat(each) for each in zip(*parts, strict=True)]


@dataclass(frozen=True)
class Side:
    """The synthetic images of the classes in places `first` to `stop` of a line, and the gradients that they give.

    images (V, c, h, w) without a graph and targets (V, K) lie in the line's order. Places of a part count from `first`.
    """

    network: nn.Module
    parameters: Sequence[Tensor]
    line: Lineup
    first: int
    stop: int
    images: Tensor
    targets: Tensor

    @cached_property
    def sizes(self) -> list[int]:
        """Images of each class."""
        return self.line.sizes[self.first : self.stop]

    def parts(self) -> list[tuple[int, int]]:
        """Neighbours of as many images, as many of them as are differentiated at once."""
        return runs(self.sizes, company(self.network, max(self.sizes), self.images, twice=True))

    def span(self, at: int, stop: int) -> slice:
        """Where the images of these places lie."""
        return slice(sum(self.sizes[:at]), sum(self.sizes[:stop]))

    def leaf(self, at: int, stop: int) -> Tensor:
        """The images of these places, to be differentiated by."""
        return self.images[self.span(at, stop)].requires_grad_()

    def changed(self, leaf: Tensor, at: int, stop: int) -> Tensor:
        return self.line.changed(leaf, self.first + at, self.first + stop)

    def apart(self, leaf: Tensor, at: int, stop: int, graph: bool) -> tuple[Tensor, ...]:
        """(k, ...): the gradients of the classes in these places, which have as many images each."""
        blocks = stop - at, self.sizes[at]
        images, targets = self.changed(leaf, at, stop), self.targets[self.span(at, stop)]
        return class_gradients(
            self.network, self.parameters, images.unflatten(0, blocks), targets.unflatten(0, blocks), graph
        )

    def mean(self, leaf: Tensor, at: int, stop: int, graph: bool) -> tuple[Tensor, ...]:
        """The mean of the gradients of the classes in these places."""
        even = sum(self.sizes[at:stop]) / (stop - at)
        # an image counts as much less as its class has more of them
        shares = [
            self.targets[self.span(at + a, at + b)] * (even / self.sizes[at + a]) for a, b in runs(self.sizes[at:stop])
        ]
        return network_gradient(self.network, self.parameters, self.changed(leaf, at, stop), joined(shares), graph)


def real_gradients(network: nn.Module, parameters: Sequence[Tensor], line: Lineup) -> list[Part]:
    """Those of the real batch of every place, each (1, ...).

    All come before the synthetic ones: going to and fro between large and small batches costs some percent.
    """
    found: list[Part] = []
    for first, stop in runs(line.real, company(network, max(line.real), line.data.images, twice=False)):
        blocks = stop - first, line.real[first]
        labels = line.labels[first:stop, None].expand(blocks)
        got = class_gradients(network, parameters, line.real_images(first, stop).unflatten(0, blocks), labels)
        found += [got] if stop - first == 1 else zip(*(g.split(1) for g in got), strict=True)
    return found


class GradientMatching(Objective):
    """The objective of DC, DCC, Jiang et al. and IDC, and, with an augmentation, of DSA."""

    def __init__(self, config: record.GradientMatching, real_batch: int):
        self.config, self.metric, self.real_batch = config, config.metric, real_batch

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        network = student.network
        assert network is not None, "the record accepts networks only"
        if has_batch_norm(network):
            refresh_statistics_(network, real, rng("statistics"))
        matched = compared(network, self.metric, self.config.weights)
        height, width = real.images.shape[-2:]
        draws, rows = [], []
        for label in range(len(synthetic.sizes)):
            draws.append(augment.draw(rng("augment"), 1, height, width))
            rows.append(real.sample_index(label, self.real_batch, rng("real")))
        most = self.config.batch
        sizes = [size if most is None else min(most, size) for size in synthetic.sizes]
        line = Lineup(augment, draws, rows, sizes, real)
        wanted = real_gradients(network, matched, line)
        warm = self.config.warmup is None or self.config.warmup.over(student.number, student.age)
        match = {"class": self.one_by_one, "joint": self.jointly, "both": self.together}[
            self.config.scope if warm else "class"
        ]
        shown = [self.shown(own, rng) for own in torch.arange(len(synthetic)).split(synthetic.sizes)]
        if self.config.sequential:
            for label, own in enumerate(synthetic.ready(shown)):
                place = line.order.index(label)
                images, targets = synthetic.decode(own)
                side = Side(network, matched, line, place, place + 1, images.detach(), targets)
                value, gradient = match(side, wanted[place : place + 1])
                yield Loss(value.detach(), images, gradient)
            return
        images, targets = synthetic.decode(None if sum(sizes) == len(synthetic) else torch.cat(shown))
        learned, answers = line.arranged(images.detach()), line.arranged(targets)
        value, gradient = match(Side(network, matched, line, 0, len(sizes), learned, answers), wanted)
        yield Loss(value.detach(), images, line.returned(gradient))

    def shown(self, addresses: Tensor, rng: Streams) -> Tensor:
        """Those of a class's addresses (n,) that an iteration sees."""
        most = self.config.batch
        if most is None or len(addresses) <= most:
            return addresses
        return addresses[torch.randperm(len(addresses), generator=rng("objective.batch"))[:most]]

    def one_by_one(self, side: Side, wanted: Sequence[Part]) -> tuple[Tensor, Tensor]:
        """The sum of the classes' distances, and its gradient by the images."""
        distances: list[Tensor] = []
        gradients: list[Tensor] = []
        for places in side.parts():
            leaf = side.leaf(*places)
            mine = side.apart(leaf, *places, graph=True)
            distances.append(class_distances(mine, stacked(wanted[slice(*places)]), self.metric))
            gradients += torch.autograd.grad(distances[-1].sum(), leaf)
        return torch.cat(distances).detach().sum(), joined(gradients)

    def jointly(self, side: Side, wanted: Sequence[Part]) -> tuple[Tensor, Tensor]:
        """The distance of the means over classes, survey Eq. 25, and its gradient by the images."""
        most = max(1, self.config.chunk // max(side.sizes))
        parts = runs([None] * len(side.sizes), most)
        leaves = [side.leaf(*places) for places in parts]
        held = len(parts) == 1
        theirs = class_mean(wanted)
        mine = [side.mean(leaf, *places, graph=held) for leaf, places in zip(leaves, parts, strict=True)]
        if held:
            value = gradient_distance(mine[0], theirs, self.metric)
            return value, torch.autograd.grad(value, leaves)[0]
        shares = [(stop - first) / len(side.sizes) for first, stop in parts]
        weighed = [[share * g for g in gradient] for share, gradient in zip(shares, mine, strict=True)]
        mean = [torch.stack(each).sum(0).requires_grad_() for each in zip(*weighed, strict=True)]
        value = gradient_distance(mean, theirs, self.metric)
        along = torch.autograd.grad(value, mean)
        gradients: list[Tensor] = []
        for leaf, places, share in zip(leaves, parts, shares, strict=True):
            gradients += torch.autograd.grad(side.mean(leaf, *places, graph=True), leaf, [share * v for v in along])
        return value, joined(gradients)

    def together(self, side: Side, wanted: Sequence[Part]) -> tuple[Tensor, Tensor]:
        """The distance at both levels, and its gradient by the images."""
        parts, held = side.parts(), len(side.images) <= self.config.chunk
        leaves = [side.leaf(*places) for places in parts]
        mine = [side.apart(leaf, *places, graph=held) for leaf, places in zip(leaves, parts, strict=True)]
        if not held:
            mine = [tuple(g.requires_grad_() for g in gradient) for gradient in mine]
        value = multi_level_distance(mine, [stacked(wanted[slice(*places)]) for places in parts], self.metric)
        if held:
            return value, joined(torch.autograd.grad(value, leaves))
        along = iter(torch.autograd.grad(value, [g for gradient in mine for g in gradient]))
        gradients: list[Tensor] = []
        for leaf, places in zip(leaves, parts, strict=True):
            again = side.apart(leaf, *places, graph=True)
            gradients += torch.autograd.grad(again, leaf, [next(along) for _ in again])
        return value, joined(gradients)


def refresh_statistics_(network: nn.Module, real: Resident, rng: torch.Generator) -> None:
    """Batch norm cannot be matched class by class: one pass of 16 real images a class moves its running statistics (as
    in the official code: by a tenth, torch's momentum), which are then frozen."""
    images = torch.cat([real.sample(label, 16, rng) for label in range(len(real.class_index))])
    with torch.no_grad():
        network.train()(images)
    network.eval()


def make(config: record.GradientMatching, context: Context) -> GradientMatching:
    return GradientMatching(config, context.real_batch)
