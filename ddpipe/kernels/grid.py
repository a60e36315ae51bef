"""Which pairs of pixels a covariance holds, and where: (p, p') with |p' - p| at most the reach, along either axis.

A convolution moves both pixels of a pair alike and pooling halves their distance, so what a readout of coincident
pixels needs lies in a light cone: its reach r is 2 r + 1 in front of a pooling by two. With the whole side as reach all
pairs are there. Pairs of one axis lie by their distance, then by p, so that a pair moved by one pixel is its neighbour.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad


class Axis(NamedTuple):
    """The A pairs along an axis of `side` pixels."""

    first: Tensor  # (A,) p
    second: Tensor  # (A,) p'
    links: Tensor  # (A - 1,) bool: whether pair i + 1 is pair i moved by one pixel
    same: slice  # the pairs of distance 0, by p
    number: dict[tuple[int, int], int]  # where each pair lies


def axis(side: int, reach: int) -> Axis:
    pairs = [(p, p + d) for d in range(-reach, reach + 1) for p in range(max(0, -d), min(side, side - d))]
    first, second = torch.tensor(pairs).T
    number = {pair: i for i, pair in enumerate(pairs)}
    return Axis(first, second, first.diff() == 1, slice(number[0, 0], number[0, 0] + side), number)


class Grid:
    """Pairs of the pixels of an image: A along its height x B along its width.

    Args:
        reach: at most the side less one along each axis.
        dtype: of the tensors that it is for; their device is `device`.
    """

    def __init__(self, height: int, width: int, reach: int, dtype: torch.dtype, device: torch.device):
        self.rows, self.columns = axis(height, min(reach, height - 1)), axis(width, min(reach, width - 1))
        self.same = (self.rows.same, self.columns.same)  # coincident pixels
        self.size = len(self.rows.first), len(self.columns.first)
        self.firsts, self.seconds = (
            tuple(index.to(device) for index in pair)
            for pair in ((self.rows.first, self.columns.first), (self.rows.second, self.columns.second))
        )
        # 1 where the pair and the one below it, or to its right, are neighbours; flat, as tensors lie in memory
        self.below = self.rows.links.repeat_interleave(self.size[1]).to(device, dtype)  # ((A - 1) B,)
        self.right = self.columns.links.to(device, dtype)  # (B - 1,)

    def first(self, maps: Tensor) -> Tensor:
        """(..., h, w) -> (..., A, B): the values at the first pixel of each pair."""
        return maps.index_select(-2, self.firsts[0]).index_select(-1, self.firsts[1])

    def second(self, maps: Tensor) -> Tensor:
        """The values at the second one."""
        return maps.index_select(-2, self.seconds[0]).index_select(-1, self.seconds[1])


class Halving:
    """Mean pooling by two, from the pairs of one grid to those of another; a last odd row or column is left out."""

    def __init__(self, large: Grid, small: Grid):
        device = large.right.device
        both = (large.rows, small.rows), (large.columns, small.columns)
        self.quarters = [quarters(*axes).to(device) for axes in both]
        self.parents = [parents(*axes).to(device) for axes in both]

    def mean(self, x: Tensor) -> Tensor:
        """(n, m, A, B) -> (n, m, A', B')."""
        for dim, parts in zip((2, 3), self.quarters, strict=True):
            total = x.index_select(dim, parts[0])
            for part in parts[1:]:
                total += x.index_select(dim, part)
            x = total
        return x.mul_(1 / 16)

    def back(self, gradient: Tensor) -> Tensor:
        """Its adjoint, (n, m, A', B') -> (n, m, A, B)."""
        x = pad(gradient / 16, (0, 1, 0, 1))  # pairs without a parent find the zeros
        return x.index_select(2, self.parents[0]).index_select(3, self.parents[1])


def quarters(large: Axis, small: Axis) -> Tensor:
    """(4, A'): the four pairs that each pooled pair is made of."""
    ends = list(zip(small.first.tolist(), small.second.tolist(), strict=True))
    return torch.tensor([[large.number[2 * p + a, 2 * q + b] for p, q in ends] for a in (0, 1) for b in (0, 1)])


def parents(large: Axis, small: Axis) -> Tensor:
    """(A,): the pooled pair that each pair belongs to; A' where there is none."""
    ends = zip((large.first // 2).tolist(), (large.second // 2).tolist(), strict=True)
    return torch.tensor([small.number.get(pair, len(small.first)) for pair in ends])


@cache
def grid(height: int, width: int, reach: int, dtype: torch.dtype, device: torch.device) -> Grid:
    return Grid(height, width, reach, dtype, device)


@cache
def halving(large: Grid, small: Grid) -> Halving:
    return Halving(large, small)
