"""CutMix (Yun et al., ICCV 2019) as IDC trains with it: one rectangle a batch, pasted from a permutation of the batch.

A pure function of images, targets and raw draws, differentiable in images and targets.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ddpipe.sending import sent


class Draw(NamedTuple):
    """The raw draws of one batch."""

    share: float  # uniform in [0, 1), which is Beta(1, 1): of the area that stays, before the border cuts the rectangle
    row: int  # centre of the rectangle
    column: int
    partners: Tensor  # (n,) permutation on the CPU: image i gets its rectangle from image partners[i]


def draw(rng: torch.Generator, n: int, height: int, width: int) -> Draw:
    """The draws for `n` images of height x width."""
    share = float(torch.rand((), generator=rng, dtype=torch.float64))
    row, column = (int(torch.randint(side, (), generator=rng)) for side in (height, width))
    return Draw(share, row, column, torch.randperm(n, generator=rng))


def rectangle(height: int, width: int, draw: Draw) -> tuple[slice, slice]:
    """The rows and columns that are replaced: sides floor(side sqrt(1 - share)) // 2 * 2 about the centre, cut off."""
    return _interval(height, draw.row, draw.share), _interval(width, draw.column, draw.share)


def mix(images: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """The images with the rectangle of their partners, and the targets mixed by the area that each side keeps.

    Cross-entropy with the mixed targets is what IDC writes as ratio CE(y) + (1 - ratio) CE(y[partners]).

    Args:
        images: (n, c, h, w), unchanged.
        targets: (n, K) distributions over classes.
    """
    height, width = images.shape[-2:]
    rows, columns = rectangle(height, width, draw)
    partners = sent(draw.partners, images.device)
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[:, :, rows, columns][partners]
    pasted = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    return mixed, torch.lerp(targets, targets[partners], pasted)


def _interval(side: int, centre: int, share: float) -> slice:
    half = int(side * math.sqrt(1 - share)) // 2
    return slice(max(centre - half, 0), min(centre + half, side))
