"""Gradient matching: DC (Zhao et al., ICLR 2021), DSA, DCC and Jiang et al.; survey Eq. 20-26, 28-29.

The synthetic images of a class shall pull a network the way the real ones do:

1. for every class: draw a real batch and, for DSA, one augmentation shared by the real and the synthetic images;
2. take the gradient of the mean cross-entropy on both sides with respect to the network's weights;
3. add up the distances over classes and descend in the images, through the augmentation and the gradient.

DCC (Lee et al., ICML 2022; Eq. 25) compares the means over the classes of both sides instead, "joint"; Jiang et al.
(2022) add K times that distance to the sum over classes, "both", and the difference's length to every row, "magnitude".

Differs from the official codes in three ways that leave the gradient as it is: all real gradients come first, because
going to and fro between large real and small synthetic batches costs some percent; distances of one class each are
differentiated class by class, because they share nothing but the network; one-dimensional weights, which some metrics
skip, are not differentiated at all. Where classes meet, a set too large for one graph is gone through twice: with v the
distance's derivative by a class's gradient g, the images' is that of <g, v>, which needs the graph of that class alone.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.networks import has_batch_norm
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


def compared(network: nn.Module, metric: str) -> list[nn.Parameter]:
    """The weights whose gradients `metric` looks at: row by row, those that have rows."""
    return [p for p in network.parameters() if metric not in ROWWISE or p.dim() > 1]


def gradient_distance(synthetic: Sequence[Tensor], real: Sequence[Tensor], metric: str = "ours") -> Tensor:
    """Distance of two gradients, listed in parameter order (survey Eq. 22).

    "ours", "magnitude": row-wise distances added up over tensors (the published results); "mse": squared L2 norm of
    the difference; "cos": 1 - cosine of the two concatenations, epsilon 1e-6 beside the product of the norms.
    """
    if metric in ROWWISE:
        return torch.stack([ROWWISE[metric](a, b) for a, b in zip(synthetic, real, strict=True)]).sum()
    a, b = torch.cat([g.flatten() for g in synthetic]), torch.cat([g.flatten() for g in real])
    if metric == "mse":
        return (a - b).square().sum()
    return 1 - (a * b).sum() / (a.norm() * b.norm() + 1e-6)


def class_mean(gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The mean over classes of their gradients, each listed in parameter order."""
    return [torch.stack(each).mean(0) for each in zip(*gradients, strict=True)]


def meeting_distance(
    synthetic: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]], metric: str, scope: str
) -> Tensor:
    """The distance in which classes meet, of K gradients a side: "joint", survey Eq. 25; "both", Jiang et al."""
    pairs = zip(synthetic, real, strict=True) if scope == "both" else ()
    alone = [gradient_distance(mine, theirs, metric) for mine, theirs in pairs]
    joint = gradient_distance(class_mean(synthetic), class_mean(real), metric)
    return torch.stack(alone).sum() + len(real) * joint if alone else joint


Given = Callable[[int, bool], tuple[Tensor, ...]]  # (class, with a graph) -> its synthetic gradient


class GradientMatching(Objective):
    """The objective of DC, DCC and Jiang et al., and, with an augmentation, of DSA."""

    def __init__(self, config: record.GradientMatching, real_batch: int):
        self.config, self.metric, self.real_batch = config, config.metric, real_batch

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        network = student.network
        assert network is not None, "the record accepts networks only"
        if has_batch_norm(network):
            refresh_statistics_(network, real, rng("statistics"))
        matched = compared(network, self.metric)
        images, targets = synthetic.decode()  # (V, c, h, w), (V, K), class by class
        draws, wanted = [], []
        for label in range(len(synthetic.sizes)):
            draws.append(augment.draw(rng("augment"), 1, *images.shape[-2:]))
            sample = augment(real.sample(label, self.real_batch, rng("real")), draws[-1])
            labels = torch.full((len(sample),), label, device=sample.device)
            wanted.append(network_gradient(network, matched, sample, labels))
        blocks = [block.requires_grad_() for block in images.detach().split(synthetic.sizes)]
        answers = targets.split(synthetic.sizes)

        def given(label: int, graph: bool) -> tuple[Tensor, ...]:
            return network_gradient(network, matched, augment(blocks[label], draws[label]), answers[label], graph)

        warm = self.config.warmup is None or self.config.warmup.over(student.number, student.age)
        match = self.one_by_one if self.config.scope == "class" or not warm else self.together
        value, gradients = match(given, wanted, blocks)
        yield Loss(value.detach(), images, torch.cat(gradients))

    def one_by_one(
        self, given: Given, wanted: Sequence[Sequence[Tensor]], blocks: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The sum of the classes' distances, and its gradient by the images of each."""
        distances: list[Tensor] = []
        gradients: list[Tensor] = []
        for label, theirs in enumerate(wanted):
            distances.append(gradient_distance(given(label, True), theirs, self.metric))
            gradients += torch.autograd.grad(distances[-1], blocks[label])
        return torch.stack(distances).detach().sum(), gradients

    def together(
        self, given: Given, wanted: Sequence[Sequence[Tensor]], blocks: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The distance in which classes meet, and its gradient by the images of each."""
        classes, held = range(len(blocks)), sum(map(len, blocks)) <= self.config.chunk
        mine = [given(label, held) for label in classes]
        if not held:
            mine = [tuple(g.requires_grad_() for g in gradient) for gradient in mine]
        value = meeting_distance(mine, wanted, self.metric, self.config.scope)
        if held:
            return value, list(torch.autograd.grad(value, blocks))
        along = iter(torch.autograd.grad(value, [g for gradient in mine for g in gradient]))
        gradients: list[Tensor] = []
        for label in classes:
            v = [next(along) for _ in wanted[label]]
            gradients += torch.autograd.grad(given(label, True), blocks[label], v)
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
