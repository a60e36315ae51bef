"""Kernels of infinitely wide networks as one straight function over all pairs of pixels, one pair of images at a time.

The recursions of Arora et al. (2019) and Novak et al. (2019) with nothing left out or shared; autograd differentiates
it where no two patches coincide.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHT, BIAS = 2.0, 0.01


def box(k: Tensor) -> Tensor:
    """(h, w, h, w): the sum over the nine moves of both pixels, zeros outside, over nine."""
    h, w = k.shape[:2]
    padded = F.pad(k, (1,) * 8)
    moves = [(a, b) for a in range(3) for b in range(3)]
    return torch.stack([padded[a : a + h, b : b + w, a : a + h, b : b + w] for a, b in moves]).sum(0) / 9


def pooled(k: Tensor) -> Tensor:
    h, w = (side // 2 for side in k.shape[:2])
    return k[: 2 * h, : 2 * w, : 2 * h, : 2 * w].reshape(h, 2, w, 2, h, 2, w, 2).mean((1, 3, 5, 7))


def kernels(x: Tensor, y: Tensor, depth: int, pools: tuple[int, ...], readout: str) -> tuple[Tensor, Tensor]:
    """NNGP and NTK of two images (c, h, w) for a convolutional network."""
    h, w = x.shape[1:]
    k, mine, theirs = (torch.einsum("chw,cuv->hwuv", a, b) / len(x) for a, b in ((x, y), (x, x), (y, y)))
    t = torch.zeros_like(k)
    for layer in range(1, depth + 1):
        t = WEIGHT * box(k + t) + BIAS
        k, mine, theirs = (WEIGHT * box(each) + BIAS for each in (k, mine, theirs))
        k, d = rectified(k, mine, theirs)
        t = t * d
        mine, theirs = rectified(mine, mine, mine)[0], rectified(theirs, theirs, theirs)[0]
        if layer in pools:
            k, t, mine, theirs = (pooled(each) for each in (k, t, mine, theirs))
    h, w = k.shape[:2]
    if readout == "flatten":
        k, t = (torch.einsum("hwhw->", each) / (h * w) for each in (k, t))
    else:
        k, t = k.mean(), t.mean()
    k = WEIGHT * k + BIAS
    return k, k + WEIGHT * t


def rectified(k: Tensor, mine: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    h, w = k.shape[:2]
    p, q = (torch.einsum("hwhw->hw", each) for each in (mine, theirs))
    norm = (p.view(h, w, 1, 1) * q).sqrt()
    cosine = k / norm
    inside = cosine.abs() < 1 - 1e-12
    safe = torch.where(inside, cosine, 0)
    angle = torch.where(inside, torch.acos(safe), torch.where(cosine > 0, 0.0, math.pi))
    sine = torch.where(inside, (1 - safe**2).sqrt(), 0)
    d = (math.pi - angle) / (2 * math.pi)
    return norm * sine / (2 * math.pi) + d * k, d
