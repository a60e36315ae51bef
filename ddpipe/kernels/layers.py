"""What each layer of an infinitely wide network does to covariances, with derivatives by hand.

Autograd through sqrt and atan2 is infinite where two patches coincide; here such a pair of one image with itself is
exact, and any other takes the limit that neural-tangents takes.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ddpipe.kernels.grid import Grid, Halving

# of which pairs of images both are the same: none, those on the diagonal, all (each image with itself, m = 1)
Coincidence = Literal["none", "diagonal", "all"]


def spread(x: Tensor, grid: Grid, weight: float, shift: float) -> Tensor:
    """weight / 9 times the sum over the 3x3 moves of both pixels of each pair, plus a shift; zeros outside the image.

    It is its own adjoint but for the shift. (n, m, A, B) -> (n, m, A, B)
    """
    one, other, width = 1 / 3, weight / 3, grid.size[1]
    along = x * one
    along[..., 1:].addcmul_(x[..., :-1], grid.right, value=one)
    along[..., :-1].addcmul_(x[..., 1:], grid.right, value=one)
    flat = along.flatten(2)
    both = torch.add(flat.new_full((), shift), flat, alpha=other)
    both[..., width:].addcmul_(flat[..., :-width], grid.below, value=other)
    both[..., :-width].addcmul_(flat[..., width:], grid.below, value=other)
    return both.view_as(x)


class Convolve(Function):
    """A 3x3 convolution, zeros around the image, weights of variance `weight` / fan-in and biases of `shift`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Grid, weight: float, shift: float) -> Tensor:
        ctx.grid, ctx.weight = grid, weight
        return spread(x, grid, weight, shift)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return spread(gradient.contiguous(), ctx.grid, ctx.weight, 0.0), None, None, None


class Pool(Function):
    """2x2 means."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, halving: Halving) -> Tensor:
        ctx.halving = halving
        return halving.mean(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.halving.back(gradient), None


def coincident(x: Tensor, grid: Grid, coincidence: Coincidence) -> Tensor:
    """A view of the entries of the same pixel of the same image, from (n, m, A, B)."""
    pairs = x.diagonal(dim1=0, dim2=1) if coincidence == "diagonal" else x.squeeze(1).movedim(0, -1)
    return pairs[grid.same]


class Rectify(Function):
    """ReLU: the arc-cosine kernels of order 1, for the covariance K, and 0, for the tangent kernel T.

    With r the product of the two variances and s = sqrt(r - K^2), cos(theta) = K / sqrt(r) and
    d = (pi - theta) / (2 pi): K' = s / (2 pi) + d K and T' = d T. Of a pixel with itself s is 0 exactly.

    Args:
        k: (n, m, A, B).
        t: like k; None: only K' is wanted.
        q, other: (n, 1, A, B) variances of the first pixels of each pair; (1, m, A, B), or like q, of the second.
    """

    @staticmethod
    def forward(
        ctx: Any, k: Tensor, t: Tensor | None, q: Tensor, other: Tensor, grid: Grid, coincidence: Coincidence
    ) -> Any:
        s = (q * other).addcmul_(k, k, value=-1).clamp_(min=0).sqrt_()
        if coincidence != "none":
            coincident(s, grid, coincidence).zero_()
        d = torch.atan2(s, k).mul_(-1 / (2 * math.pi)).add_(0.5)
        s.mul_(1 / (2 * math.pi))
        ctx.save_for_backward(k, t, s, d, q, other)
        new = torch.addcmul(s, d, k)
        return new if t is None else (new, d * t)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_k: Tensor, grad_t: Tensor | None = None) -> Any:
        k, t, s, d, q, other = ctx.saved_tensors
        back, w = grad_k * d, grad_k * s
        if t is not None:
            assert grad_t is not None
            u = (s * (4 * math.pi**2)).reciprocal_().nan_to_num_(posinf=0.0).mul_(t).mul_(grad_t)
            back += u
            w.addcmul_(u, k, value=-1)
        sides = []
        for needed, variance in zip(ctx.needs_input_grad[2:4], (q, other), strict=True):
            sides.append(w.sum_to_size(variance.shape) / (2 * variance) if needed else None)
        return back, None if t is None else grad_t * d, *sides, None, None
