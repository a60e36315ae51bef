"""Kernel ridge regression, solved in float64 whatever the kernel was computed in: KIP, FRePo, RFAD."""

import torch
from torch import Tensor

from ddpipe.training.loop import Diverged


def coefficients(kernel: Tensor, targets: Tensor, regularisation: float) -> Tensor:
    """(n, K) float64: (K + lambda I)^-1 y for a kernel (n, n) and targets (n, K); predictions are K(., shown) times it.

    lambda is `regularisation` times the mean of the kernel's diagonal, of which it has the derivative. What comes of a
    kernel that is not finite is not finite either: whoever watches the loss sees it.

    Raises:
        Diverged: when the system has no solution in these numbers.
    """
    system = kernel.double()
    if not bool(system.detach().isfinite().all()):
        return system @ targets.double()
    penalty = regularisation * system.diagonal().mean()
    return torch.cholesky_solve(targets.double(), factor(system + penalty * torch.eye(len(system)).to(system)))


def factor(system: Tensor) -> Tensor:
    """The Cholesky factor (n, n) of a regularised `system`.

    Raises:
        Diverged: when it has none.
    """
    found, failed = torch.linalg.cholesky_ex(system)
    if int(failed) or not bool(found.detach().isfinite().all()):
        raise Diverged("regularisation: the features of the set have no ridge regression; raise it")
    return found
