"""Kernels of many images in blocks of pairs, so that memory stays bounded whatever their number.

A gradient takes two passes: the kernel is filled without a graph; once its own gradient is known, each block is made
again with its graph, which is pulled back and forgotten. Variances belong to images, not to pairs: blocks leave their
gradients beside those of the images, and they are pulled back once.
"""

from collections.abc import Iterator
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ddpipe.kernels.recursion import Recursion

# numbers of one covariance with which a core finds them in its cache, and a GPU is not kept waiting for its next call
FAST = {False: 2**19, True: 2**25}


def cross(recursion: Recursion, real: Tensor, shown: Tensor, chunk: int | None = None) -> Tensor:
    """(m, n): the kernel of images `real` (m, c, h, w) with `shown` (n, c, h, w), differentiable by the latter alone.

    Args:
        chunk: numbers of one covariance that are held at once; only memory and rounding depend on it. None: what is
            fast on the device.
    """
    return Cross.apply(shown, real.detach(), recursion, chunk or FAST[shown.device.type != "cpu"])


def own(recursion: Recursion, shown: Tensor, chunk: int | None = None) -> Tensor:
    """(n, n): the kernel of images with themselves, its diagonal exact; arguments as of `cross`."""
    return Own.apply(shown, recursion, chunk or FAST[shown.device.type != "cpu"])


def sides(recursion: Recursion, images: Tensor, chunk: int) -> tuple[int, int]:
    """Images of either side of a block: the squares take the fewest images for their pairs."""
    pairs = max(1, chunk // recursion.entries(images))
    side = isqrt(pairs)
    return side, pairs // side


def variances(recursion: Recursion, images: Tensor, chunk: int) -> list[Tensor]:
    """`Recursion.variances` of all images, without a graph."""
    with torch.no_grad():
        parts = [recursion.variances(part) for part in images.split(at_once(recursion, images, chunk))]
    return [torch.cat(maps) for maps in zip(*parts, strict=True)]


def at_once(recursion: Recursion, images: Tensor, chunk: int) -> int:
    return max(1, chunk // recursion.entries(images))


class Sum:
    """The gradients of some images and of their variances."""

    def __init__(self, images: Tensor, maps: list[Tensor]):
        self.images, self.maps = images, maps
        self.total, self.beside = torch.zeros_like(images), [torch.zeros_like(each) for each in maps]

    def leaves(self, part: slice) -> list[Tensor]:
        """The images and the variances of a part, to be differentiated by."""
        return [each[part].detach().requires_grad_() for each in (self.images, *self.maps)]

    def add_(self, part: slice, gradients: Any) -> None:
        for total, gradient in zip((self.total, *self.beside), gradients, strict=True):
            total[part] += gradient

    def pulled_back(self, recursion: Recursion, chunk: int) -> Tensor:
        """The gradient of the images alone."""
        for part in slices(len(self.images), at_once(recursion, self.images, chunk)):
            images = self.images[part].detach().requires_grad_()
            with torch.enable_grad():
                maps = recursion.variances(images)
            self.total[part] += torch.autograd.grad(maps, images, [each[part] for each in self.beside])[0]
        return self.total


def slices(n: int, size: int) -> Iterator[slice]:
    return (slice(first, min(n, first + size)) for first in range(0, n, size))


class Cross(Function):
    @staticmethod
    def forward(ctx: Any, shown: Tensor, real: Tensor, recursion: Recursion, chunk: int) -> Tensor:
        ctx.recursion, ctx.chunk = recursion, chunk
        mine, theirs = variances(recursion, shown, chunk), variances(recursion, real, chunk)
        ctx.save_for_backward(shown, real, *mine, *theirs)
        kernel = shown.new_empty(len(real), len(shown))
        for rows, columns in Cross.blocks(ctx, shown, real):
            found = recursion.block(shown[columns], real[rows], [q[columns] for q in mine], [q[rows] for q in theirs])
            kernel[rows, columns] = found.T
        return kernel

    @staticmethod
    def blocks(ctx: Any, shown: Tensor, real: Tensor) -> Iterator[tuple[slice, slice]]:
        one, other = sides(ctx.recursion, shown, ctx.chunk)
        if one > len(shown):  # a long strip of the real images in place of a square
            one, other = len(shown), one * other // len(shown)
        return ((rows, columns) for rows in slices(len(real), other) for columns in slices(len(shown), one))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        recursion: Recursion = ctx.recursion
        shown, real, *maps = ctx.saved_tensors
        mine, theirs = maps[: recursion.limit.depth], maps[recursion.limit.depth :]
        total = Sum(shown, mine)
        for rows, columns in Cross.blocks(ctx, shown, real):
            leaves = total.leaves(columns)
            with torch.enable_grad():
                found = recursion.block(leaves[0], real[rows], leaves[1:], [q[rows] for q in theirs])
            total.add_(columns, torch.autograd.grad(found, leaves, gradient[rows, columns].T))
        return total.pulled_back(recursion, ctx.chunk), None, None, None


class Own(Function):
    @staticmethod
    def forward(ctx: Any, shown: Tensor, recursion: Recursion, chunk: int) -> Tensor:
        ctx.recursion, ctx.chunk = recursion, chunk
        maps = variances(recursion, shown, chunk)
        ctx.save_for_backward(shown, *maps)
        kernel = shown.new_empty(len(shown), len(shown))
        for rows, columns in Own.blocks(ctx, shown):
            mine, theirs = ([q[part] for q in maps] for part in (rows, columns))
            found = recursion.block(
                shown[rows], shown[columns], mine, theirs, "diagonal" if rows == columns else "none"
            )
            kernel[rows, columns] = found
            kernel[columns, rows] = found.T
        return kernel

    @staticmethod
    def blocks(ctx: Any, shown: Tensor) -> Iterator[tuple[slice, slice]]:
        """Those on the diagonal and above."""
        parts = list(slices(len(shown), sides(ctx.recursion, shown, ctx.chunk)[0]))
        return ((rows, columns) for i, rows in enumerate(parts) for columns in parts[i:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        recursion: Recursion = ctx.recursion
        shown, *maps = ctx.saved_tensors
        total = Sum(shown, maps)
        for rows, columns in Own.blocks(ctx, shown):
            mine, theirs = total.leaves(rows), total.leaves(columns)
            same = rows == columns
            with torch.enable_grad():
                found = recursion.block(mine[0], theirs[0], mine[1:], theirs[1:], "diagonal" if same else "none")
            # below the diagonal of a diagonal block the forward pass has the numbers from above it
            wanted = gradient[rows, columns] if same else gradient[rows, columns] + gradient[columns, rows].T
            back = torch.autograd.grad(found, [*mine, *theirs], wanted)
            total.add_(rows, back[: len(mine)])
            total.add_(columns, back[len(mine) :])
        return total.pulled_back(recursion, ctx.chunk), None, None
