"""Distances of the gradients that real and synthetic images give a network: of many classes at once, row by row.

Gradients of k classes are listed in parameter order, each (k, ...); every function gives them (k,) distances, each as
if its class were alone.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rowwise_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Survey Eq. 23 for one tensor of k classes (k, rows, ...): the sum over its rows of
    1 - <a_i, b_i> / (|a_i| |b_i| + 1e-6), (k,); 0 where it has no rows.

    The epsilon stands beside the product of the norms, as in the official code: where gradients are tiny the distance
    saturates at the number of rows.
    """
    if a.dim() < 3:
        return a.new_zeros(len(a))
    a, b = a.flatten(2), b.flatten(2)  # (k, rows, entries)
    norms = torch.linalg.vector_norm(a, dim=2) * torch.linalg.vector_norm(b, dim=2)
    return (1 - (a * b).sum(2) / (norms + 1e-6)).sum(1)


def rowwise_magnitude(a: Tensor, b: Tensor) -> Tensor:
    """Survey Eq. 26 for one tensor of k classes (k, rows, ...): the sum over its rows of
    1 - cos(a_i, b_i) + |a_i - b_i|, (k,); 0 where it has no rows.

    The cosine is torch's, with 1e-8 as the least of each norm, as in the official code. Equal rows give no NaN.
    """
    if a.dim() < 3:
        return a.new_zeros(len(a))
    a, b = a.flatten(2), b.flatten(2)  # (k, rows, entries)
    return (1 - F.cosine_similarity(a, b, dim=2, eps=1e-8) + torch.linalg.vector_norm(a - b, dim=2)).sum(1)


ROWWISE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ours": rowwise_cosine, "magnitude": rowwise_magnitude}


def compared(network: nn.Module, metric: str, weights: str = "all") -> list[nn.Parameter]:
    """The weights whose gradients `metric` looks at: row by row, those that have rows. Or those of convolutions."""
    if weights == "convolutions":
        return [p for p in network.parameters() if p.dim() == 4]
    return [p for p in network.parameters() if metric not in ROWWISE or p.dim() > 1]


def class_distances(synthetic: Sequence[Tensor], real: Sequence[Tensor], metric: str = "ours") -> Tensor:
    """(k,) distances of the gradients of k classes, each tensor (k, ...) (survey Eq. 22).

    "ours", "magnitude": row-wise distances added up over tensors (the published results);
    "mse": squared L2 norm of the difference; "l1": sum of its absolute values; "cos": 1 - cosine of the two
    concatenations, epsilon 1e-6 beside the product of the norms.
    """
    if metric in ROWWISE:
        return torch.stack([ROWWISE[metric](a, b) for a, b in zip(synthetic, real, strict=True)]).sum(0)
    a, b = torch.cat([g.flatten(1) for g in synthetic], 1), torch.cat([g.flatten(1) for g in real], 1)
    if metric == "mse":
        return (a - b).square().sum(1)
    if metric == "l1":
        return (a - b).abs().sum(1)
    return 1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)


def gradient_distance(synthetic: Sequence[Tensor], real: Sequence[Tensor], metric: str = "ours") -> Tensor:
    """The distance of two gradients, (), as of one class."""
    return class_distances([g[None] for g in synthetic], [g[None] for g in real], metric).squeeze(0)


Part = Sequence[Tensor]  # gradients of some classes, each (k, ...)


def class_mean(parts: Sequence[Part]) -> list[Tensor]:
    """The mean over the classes of all parts, in parameter order."""
    return [torch.cat(each).mean(0) for each in zip(*parts, strict=True)]


def multi_level_distance(synthetic: Sequence[Part], real: Sequence[Part], metric: str) -> Tensor:
    """Jiang et al.: of K gradients a side, the sum of the classes' distances and K times that of their means."""
    alone = torch.cat([class_distances(mine, theirs, metric) for mine, theirs in zip(synthetic, real, strict=True)])
    return alone.sum() + len(alone) * gradient_distance(class_mean(synthetic), class_mean(real), metric)
