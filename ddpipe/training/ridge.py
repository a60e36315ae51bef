"""Kernel ridge regression, solved in float64 whatever the kernel was computed in: KIP, FRePo, RFAD."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ddpipe.training.loop import Diverged

UNSOLVED = "regularisation: the features of the set have no ridge regression; raise it"


def coefficients(kernel: Tensor, targets: Tensor, regularisation: float) -> Tensor:
    """(n, K) float64: (K + lambda I)^-1 y for a kernel (n, n) and targets (n, K); predictions are K(., shown) times it.

    lambda is `regularisation` times the mean of the kernel's diagonal, of which it has the derivative. What comes of a
    kernel that is not finite is not finite either: whoever watches the loss sees it.

    Raises:
        Diverged: when the system has no solution in these numbers.
    """
    system = kernel.double()
    penalty = regularisation * system.diagonal().mean()
    solved: Tensor = Solved.apply(system.diagonal_scatter(system.diagonal() + penalty), targets.double())
    return solved


class Solved(torch.autograd.Function):
    """A^-1 y for a symmetric A (n, n) and y (n, K): the way back costs no more than another solution."""

    @staticmethod
    def forward(ctx: Any, system: Tensor, targets: Tensor) -> Tensor:
        found, failed = torch.linalg.cholesky_ex(system)
        if int(failed):
            if bool(system.isfinite().all()):
                raise Diverged(UNSOLVED)
            found = torch.full_like(system, torch.nan)
        solved = torch.cholesky_solve(targets, found)
        ctx.save_for_backward(found, solved)
        return solved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        found, solved = ctx.saved_tensors
        by_targets = torch.cholesky_solve(slope, found)
        return -by_targets @ solved.T, by_targets


def factor(system: Tensor) -> Tensor:
    """The Cholesky factor (n, n) of a regularised `system`.

    Raises:
        Diverged: when it has none.
    """
    found, failed = torch.linalg.cholesky_ex(system)
    if int(failed) or not bool(found.isfinite().all()):
        raise Diverged(UNSOLVED)
    return found
