"""Analytical kernels as calls that a calibration times: of so many pairs of images."""

from collections.abc import Callable
from math import isqrt

import torch
from torch import Tensor

from ddpipe import kernels
from ddpipe.planning.calls import Bench, Call
from ddpipe.settings.networks import limit
from ddpipe.settings.work import Operation


def kernel(bench: Bench, operation: Operation, n: int) -> Call:
    across, real, shown = pairs(bench, operation, n)
    return lambda: across(real, shown)


def kernel_gradient(bench: Bench, operation: Operation, n: int) -> Call:
    """And back to the images of one side, which takes each pair once more."""
    across, real, shown = pairs(bench, operation, n)
    shown.requires_grad_()
    return lambda: torch.autograd.grad(across(real, shown).sum(), shown)


def pairs(bench: Bench, operation: Operation, n: int) -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]:
    """A kernel, and images of which it has about `n` pairs."""
    assert operation.network is not None
    (kind, chunk), found, side = operation.option.split(), limit(operation.network), isqrt(n)
    assert found is not None, "`ddpipe check` has looked"
    at_once = None if chunk == "None" else int(chunk)
    recursion = kernels.Recursion(found, "ntk" if kind == "ntk" else "nngp")
    real, shown = bench.images(operation, n // side), bench.images(operation, side)
    return lambda a, b: kernels.cross(recursion, a, b, at_once), real, shown
