"""Herding: the mean of what is chosen stays near the mean of the class."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.datasets.resident import check_images
from ddpipe.selections.choice import Choice
from ddpipe.selections.ranking import ROUNDING, first_smallest, of


def herding(features: Tensor, class_index: list[Tensor], ipc: int, normalise: bool = False) -> Tensor:
    """Herding (Welling, ICML 2009) as the distillation papers use it: keep the selection's mean near the class's.

    Step k takes the unchosen x with the smallest ||(k + 1) mu - (sum of the chosen) - x||, mu the mean of the class.
    `features` is (N, F). `normalise` is iCaRL's variant (Rebuffi et al., CVPR 2017): rows and mu scaled to unit norm.
    """
    check_images(class_index, ipc)
    return torch.stack([rows[_herd(of(features, rows), ipc, normalise)] for rows in class_index])


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
        chosen.append(first_smallest(scores, slack))
        total += x[chosen[-1]]
    return torch.tensor(chosen)


def make(choice: Choice) -> Tensor:
    return herding(choice.features(), choice.class_index, choice.ipc).flatten()
