"""Gradient matching: DC (Zhao et al., ICLR 2021) and DSA (Zhao and Bilen, ICML 2021); survey Eq. 20-24, 28-29.

The synthetic images of a class shall pull a network the way the real ones do:

1. for every class: draw a real batch and, for DSA, one augmentation shared by the real and the synthetic images;
2. take the gradient of the mean cross-entropy on both sides with respect to the network's weights;
3. add up the distances over classes and descend in the images, through the augmentation and the gradient.

Differs from the official code in three ways that leave the gradient as it is: all real gradients come first, because
going to and fro between large real and small synthetic batches costs some percent; the distances are differentiated
class by class, because they share nothing but the network; one-dimensional weights, which distance "ours" skips, are
not differentiated at all.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe import settings
from ddpipe.augmentation import Policy
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.outer import Loss
from ddpipe.networks import has_batch_norm
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
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


def gradient_distance(synthetic: Sequence[Tensor], real: Sequence[Tensor], metric: str = "ours") -> Tensor:
    """Distance of two gradients, listed in parameter order (survey Eq. 22).

    "ours": row-wise cosine distances added up over tensors (the published results); "mse": squared L2 norm of the
    difference; "cos": 1 - cosine of the two concatenations, epsilon 1e-6 beside the product of the norms.
    """
    if metric == "ours":
        return torch.stack([rowwise_cosine(a, b) for a, b in zip(synthetic, real, strict=True)]).sum()
    a, b = torch.cat([g.flatten() for g in synthetic]), torch.cat([g.flatten() for g in real])
    if metric == "mse":
        return (a - b).square().sum()
    return 1 - (a * b).sum() / (a.norm() * b.norm() + 1e-6)


class GradientMatching(Objective):
    """The objective of DC and, with an augmentation, of DSA."""

    accepts = frozenset({"network"})

    def __init__(self, config: settings.GradientMatching, real_batch: int):
        self.metric, self.real_batch = config.metric, real_batch

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        network = student.network
        if has_batch_norm(network):
            refresh_statistics_(network, real, rng("statistics"))
        matched = [p for p in network.parameters() if self.metric != "ours" or p.dim() > 1]
        images, targets = synthetic.decode()  # (V, c, h, w), (V, K), class by class
        draws, wanted = [], []
        for label in range(len(synthetic.sizes)):
            draws.append(augment.draw(rng("augment"), 1, *images.shape[-2:]))
            sample = augment(real.sample(label, self.real_batch, rng("real")), draws[-1])
            labels = torch.full((len(sample),), label, device=sample.device)
            wanted.append(network_gradient(network, matched, sample, labels))
        gradients, distances = [], []
        blocks = zip(images.detach().split(synthetic.sizes), targets.split(synthetic.sizes), strict=True)
        for (block, block_targets), draw, theirs in zip(blocks, draws, wanted, strict=True):
            augmented = augment(block.requires_grad_(), draw)
            given = network_gradient(network, matched, augmented, block_targets, create_graph=True)
            distances.append(gradient_distance(given, theirs, self.metric))
            gradients += torch.autograd.grad(distances[-1], block)
        yield Loss(torch.stack(distances).detach().sum(), images, torch.cat(gradients))


def refresh_statistics_(network: nn.Module, real: Resident, rng: torch.Generator) -> None:
    """Batch norm cannot be matched class by class: one pass of 16 real images a class moves its running statistics (as
    in the official code: by a tenth, torch's momentum), which are then frozen."""
    images = torch.cat([real.sample(label, 16, rng) for label in range(len(real.class_index))])
    with torch.no_grad():
        network.train()(images)
    network.eval()
