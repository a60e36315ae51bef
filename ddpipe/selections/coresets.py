"""Selecting real images: the baselines Random, Herding and K-Center, as row numbers of the training set.

`class_index` holds the row numbers of each class, ascending (`Resident.class_index`), on the CPU. The result is int64
(K, ipc) there: row k belongs to class k, in the order of selection. Distances are Euclidean, in float64, between
features as they are given. Of rows equally good to within rounding the first in row order is taken, so that duplicates
select the same on every machine. UserError: a class has fewer images than `ipc`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.errors import UserError

ROUNDING = 1e-12  # of the largest squared norm: far above float64's error, far below a real difference


def random(class_index: list[Tensor], ipc: int, rng: torch.Generator) -> Tensor:
    """The start of one permutation per class: equal generators give nested selections, IPC 1 inside IPC 10."""
    _check(class_index, ipc)
    return torch.stack([rows[torch.randperm(len(rows), generator=rng)[:ipc]] for rows in class_index])


def herding(features: Tensor, class_index: list[Tensor], ipc: int, normalise: bool = False) -> Tensor:
    """Herding (Welling, ICML 2009) as the distillation papers use it: keep the selection's mean near the class's.

    Step k takes the unchosen x with the smallest ||(k + 1) mu - (sum of the chosen) - x||, mu the mean of the class.
    `features` is (N, F). `normalise` is iCaRL's variant (Rebuffi et al., CVPR 2017): rows and mu scaled to unit norm.
    """
    _check(class_index, ipc)
    return torch.stack([rows[_herd(_of(features, rows), ipc, normalise)] for rows in class_index])


def kcenter(features: Tensor, class_index: list[Tensor], ipc: int) -> Tensor:
    """Greedy K-Center (Sener and Savarese, ICLR 2018): the row nearest to the class mean, then always the row farthest
    from its nearest chosen one. `features` is (N, F)."""
    _check(class_index, ipc)
    return torch.stack([rows[_spread(_of(features, rows), ipc)] for rows in class_index])


def _herd(x: Tensor, ipc: int, normalise: bool) -> Tensor:
    if normalise:
        x = F.normalize(x, dim=1)  # m F
    mu = x.mean(dim=0)  # F
    if normalise:
        mu = F.normalize(mu, dim=0)
    # With mu subtracted the criterion is ||s + x||, s the sum of the chosen: constant + |x|^2 + 2 <s, x>.
    x = x - mu
    norms = x.square().sum(dim=1)  # m
    slack = ROUNDING * float(norms.max())
    total = torch.zeros_like(mu)
    chosen: list[int] = []
    for _ in range(ipc):
        scores = norms + 2 * (x @ total)
        scores[chosen] = torch.inf
        chosen.append(_first_smallest(scores, slack))
        total += x[chosen[-1]]
    return torch.tensor(chosen)


def _spread(x: Tensor, ipc: int) -> Tensor:
    distances = (x - x.mean(dim=0)).square().sum(dim=1)  # m
    slack = ROUNDING * float(distances.max())
    chosen = [_first_smallest(distances, slack)]
    nearest = torch.full_like(distances, torch.inf)  # m: squared distance to the nearest chosen row
    while len(chosen) < ipc:
        nearest = nearest.minimum((x - x[chosen[-1]]).square().sum(dim=1))
        nearest[chosen] = -torch.inf
        chosen.append(_first_smallest(-nearest, slack))
    return torch.tensor(chosen)


def _first_smallest(scores: Tensor, slack: float) -> int:
    return int((scores <= scores.min() + slack).nonzero()[0])


def _of(features: Tensor, rows: Tensor) -> Tensor:
    return features[rows.to(features.device)].double()


def _check(class_index: list[Tensor], ipc: int) -> None:
    sizes = [len(rows) for rows in class_index]
    if ipc > min(sizes):
        smallest = sizes.index(min(sizes))
        raise UserError(
            f"ipc {ipc}: class {smallest} has only {sizes[smallest]} training images, set ipc to that or less"
        )
