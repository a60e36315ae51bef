"""Gradient matching: DC (Zhao et al., ICLR 2021), DSA, DCC, Jiang et al. and IDC; survey Eq. 20-29.

The synthetic images of a class shall pull a network the way the real ones do:

1. for every class: draw a real batch and, for DSA, one augmentation shared by the real and the synthetic images;
2. take the gradient of the mean cross-entropy on both sides with respect to the network's weights;
3. add up the distances over classes and descend in the images, through the augmentation and the gradient.

DCC (Lee et al., ICML 2022; Eq. 25) compares the means over the classes of both sides instead, "joint"; Jiang et al.
(2022) add K times that distance to the sum over classes, "both", and the difference's length to every row, "magnitude".
IDC (Kim et al., ICML 2022) compares convolutions alone and takes a step after every class, "sequential": momentum moves
all images each time, so a class's are not where they were when the iteration began.

Differs from the official codes in three ways that leave the gradient as it is: all real gradients come first, because
going to and fro between large real and small synthetic batches costs some percent; distances of one class each are
differentiated class by class, because they share nothing but the network; one-dimensional weights, which some metrics
skip, are not differentiated at all. Where classes meet, a set too large for one graph is gone through twice: with v the
distance's derivative by a class's gradient g, the images' is that of <g, v>, which needs the graph of that class alone.
DCC's mean is that of whole batches of classes, as many as a graph may hold.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.networks import has_batch_norm
from ddpipe.networks.block import twice
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


def rowwise_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Survey Eq. 23 for one tensor: the sum over its rows of 1 - <a_i, b_i> / (|a_i| |b_i| + 1e-6); 0 for 1-D tensors.

    The epsilon stands beside the product of the norms, as in the official code: where gradients are tiny the distance
    saturates at the number of rows.
    """
    if a.dim() < 2:
        return a.new_zeros(())
    a, b = a.flatten(1), b.flatten(1)  # (rows, entries)
    norms = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    return (1 - (a * b).sum(1) / (norms + 1e-6)).sum()


def rowwise_magnitude(a: Tensor, b: Tensor) -> Tensor:
    """Survey Eq. 26 for one tensor: the sum over its rows of 1 - cos(a_i, b_i) + |a_i - b_i|; 0 for 1-D tensors.

    The cosine is torch's, with 1e-8 as the least of each norm, as in the official code. Equal rows give no NaN.
    """
    if a.dim() < 2:
        return a.new_zeros(())
    a, b = a.flatten(1), b.flatten(1)  # (rows, entries)
    return (1 - F.cosine_similarity(a, b, dim=1, eps=1e-8) + torch.linalg.vector_norm(a - b, dim=1)).sum()


ROWWISE = {"ours": rowwise_cosine, "magnitude": rowwise_magnitude}


def compared(network: nn.Module, metric: str, weights: str = "all") -> list[nn.Parameter]:
    """The weights whose gradients `metric` looks at: row by row, those that have rows. Or those of convolutions."""
    if weights == "convolutions":
        return [p for p in network.parameters() if p.dim() == 4]
    return [p for p in network.parameters() if metric not in ROWWISE or p.dim() > 1]


def gradient_distance(synthetic: Sequence[Tensor], real: Sequence[Tensor], metric: str = "ours") -> Tensor:
    """Distance of two gradients, listed in parameter order (survey Eq. 22).

    "ours", "magnitude": row-wise distances added up over tensors (the published results); "mse": squared L2 norm of
    the difference; "l1": sum of its absolute values; "cos": 1 - cosine of the two concatenations, epsilon 1e-6 beside
    the product of the norms.
    """
    if metric in ROWWISE:
        return torch.stack([ROWWISE[metric](a, b) for a, b in zip(synthetic, real, strict=True)]).sum()
    a, b = torch.cat([g.flatten() for g in synthetic]), torch.cat([g.flatten() for g in real])
    if metric == "mse":
        return (a - b).square().sum()
    if metric == "l1":
        return (a - b).abs().sum()
    return 1 - (a * b).sum() / (a.norm() * b.norm() + 1e-6)


def class_mean(gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The mean over classes of their gradients, each listed in parameter order."""
    return [torch.stack(each).mean(0) for each in zip(*gradients, strict=True)]


def multi_level_distance(
    synthetic: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]], metric: str
) -> Tensor:
    """Jiang et al.: of K gradients a side, the sum of the classes' distances and K times that of their means."""
    alone = [gradient_distance(mine, theirs, metric) for mine, theirs in zip(synthetic, real, strict=True)]
    return torch.stack(alone).sum() + len(real) * gradient_distance(class_mean(synthetic), class_mean(real), metric)


# (places of classes, with a graph) -> the mean of their synthetic gradients
Given = Callable[[Sequence[int], bool], tuple[Tensor, ...]]


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
        draws, wanted = [], []
        for label in range(len(synthetic.sizes)):
            draws.append(augment.draw(rng("augment"), 1, height, width))
            sample = augment(real.sample(label, self.real_batch, rng("real")), draws[-1])
            labels = torch.full((len(sample),), label, device=sample.device)
            wanted.append(network_gradient(network, matched, sample, labels))
        addresses = torch.arange(len(synthetic)).split(synthetic.sizes)
        warm = self.config.warmup is None or self.config.warmup.over(student.number, student.age)
        match = {"class": self.one_by_one, "joint": self.jointly, "both": self.together}[
            self.config.scope if warm else "class"
        ]

        def loss(classes: Sequence[int]) -> Loss:
            shown = [self.shown(addresses[label], rng) for label in classes]
            sizes = [len(index) for index in shown]
            images, targets = synthetic.decode(None if sum(sizes) == len(synthetic) else torch.cat(shown))
            blocks = [block.requires_grad_() for block in images.detach().split(sizes)]  # (n, c, h, w) of each class
            answers = targets.split(sizes)  # (n, K)

            def given(places: Sequence[int], graph: bool) -> tuple[Tensor, ...]:
                changed = [augment(blocks[place], draws[classes[place]]) for place in places]
                if len(places) == 1:
                    return network_gradient(network, matched, changed[0], answers[places[0]], graph)
                # an image counts as much less as its class has more of them
                even = sum(sizes[place] for place in places) / len(places)
                shares = torch.cat([answers[place] * (even / sizes[place]) for place in places])
                return network_gradient(network, matched, torch.cat(changed), shares, graph)

            value, gradients = match(given, [wanted[label] for label in classes], blocks)
            return Loss(value.detach(), images, torch.cat(gradients))

        classes = range(len(wanted))
        yield from map(loss, [[label] for label in classes] if self.config.sequential else [classes])

    def shown(self, addresses: Tensor, rng: Streams) -> Tensor:
        """Those of a class's addresses (n,) that an iteration sees."""
        most = self.config.batch
        if most is None or len(addresses) <= most:
            return addresses
        return addresses[torch.randperm(len(addresses), generator=rng("objective.batch"))[:most]]

    def one_by_one(
        self, given: Given, wanted: Sequence[Sequence[Tensor]], blocks: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The sum of the classes' distances, and its gradient by the images of each."""
        distances: list[Tensor] = []
        gradients: list[Tensor] = []
        for label, theirs in enumerate(wanted):
            distances.append(gradient_distance(given([label], True), theirs, self.metric))
            gradients += torch.autograd.grad(distances[-1], blocks[label])
        return torch.stack(distances).detach().sum(), gradients

    def jointly(
        self, given: Given, wanted: Sequence[Sequence[Tensor]], blocks: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The distance of the means over classes, survey Eq. 25, and its gradient by the images of each."""
        most = max(1, self.config.chunk // max(map(len, blocks)))
        parts = [part.tolist() for part in torch.arange(len(blocks)).split(most)]
        held = len(parts) == 1
        theirs, mine = class_mean(wanted), [given(part, held) for part in parts]
        if held:
            value = gradient_distance(mine[0], theirs, self.metric)
            return value, list(torch.autograd.grad(value, blocks))
        shares = [len(part) / len(blocks) for part in parts]
        weighed = [[share * g for g in gradient] for share, gradient in zip(shares, mine, strict=True)]
        mean = [torch.stack(each).sum(0).requires_grad_() for each in zip(*weighed, strict=True)]
        value = gradient_distance(mean, theirs, self.metric)
        along = torch.autograd.grad(value, mean)
        gradients: list[Tensor] = []
        for part, share in zip(parts, shares, strict=True):
            leaves = [blocks[label] for label in part]
            gradients += torch.autograd.grad(given(part, True), leaves, [share * v for v in along])
        return value, gradients

    def together(
        self, given: Given, wanted: Sequence[Sequence[Tensor]], blocks: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The distance at both levels, and its gradient by the images of each class."""
        classes, held = range(len(blocks)), sum(map(len, blocks)) <= self.config.chunk
        mine = [given([label], held) for label in classes]
        if not held:
            mine = [tuple(g.requires_grad_() for g in gradient) for gradient in mine]
        value = multi_level_distance(mine, wanted, self.metric)
        if held:
            return value, list(torch.autograd.grad(value, blocks))
        along = iter(torch.autograd.grad(value, [g for gradient in mine for g in gradient]))
        gradients: list[Tensor] = []
        for label in classes:
            v = [next(along) for _ in wanted[label]]
            gradients += torch.autograd.grad(given([label], True), blocks[label], v)
        return value, gradients


def refresh_statistics_(network: nn.Module, real: Resident, rng: torch.Generator) -> None:
    """Batch norm cannot be matched class by class: one pass of 16 real images a class moves its running statistics (as
    in the official code: by a tenth, torch's momentum), which are then frozen."""
    images = torch.cat([real.sample(label, 16, rng) for label in range(len(real.class_index))])
    with torch.no_grad():
        network.train()(images)
    network.eval()


def make(config: record.GradientMatching, context: Context) -> GradientMatching:
    return GradientMatching(config, context.real_batch)
