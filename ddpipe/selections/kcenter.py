"""K-Center: every image of the class has a chosen one near it."""

import torch
from torch import Tensor

from ddpipe.datasets.resident import check_images
from ddpipe.selections.choice import Choice
from ddpipe.selections.ranking import ROUNDING, first_smallest, of


def kcenter(features: Tensor, class_index: list[Tensor], ipc: int) -> Tensor:
    """Greedy K-Center (Sener and Savarese, ICLR 2018): the row nearest to the class mean, then always the row farthest
    from its nearest chosen one. `features` is (N, F)."""
    check_images(class_index, ipc)
    return torch.stack([rows[_spread(of(features, rows), ipc)] for rows in class_index])


def _spread(x: Tensor, ipc: int) -> Tensor:
    distances = (x - x.mean(dim=0)).square().sum(dim=1)  # m
    slack = ROUNDING * float(distances.max())
    chosen = [first_smallest(distances, slack)]
    nearest = torch.full_like(distances, torch.inf)  # m: squared distance to the nearest chosen row
    while len(chosen) < ipc:
        nearest = nearest.minimum((x - x[chosen[-1]]).square().sum(dim=1))
        nearest[chosen] = -torch.inf
        chosen.append(first_smallest(-nearest, slack))
    return torch.tensor(chosen)


def make(choice: Choice) -> Tensor:
    return kcenter(choice.features(), choice.class_index, choice.ipc).flatten()
