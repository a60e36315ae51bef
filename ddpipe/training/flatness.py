"""Gradients that lead to flat minima: GSAM (Zhuang et al., ICLR 2022), with which FTD (Du et al., CVPR 2023) trains."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ddpipe.training.clipping import norm

EPSILON = 1e-12  # beside every norm, as in the official code


def perturbation(weights: Sequence[Tensor], gradients: Sequence[Tensor], rho: float, adaptive: bool) -> list[Tensor]:
    """The step of length about rho along the gradient; `adaptive` measures it in units of the weights.

    e = rho w^2 g / (| |w| g | + eps), elementwise products and one norm over all tensors; without `adaptive`
    e = rho g / (|g| + eps).
    """
    scaled = [w.abs() * g for w, g in zip(weights, gradients, strict=True)] if adaptive else list(gradients)
    factor = rho / (norm(scaled) + EPSILON)
    return [factor * (w.abs() * s if adaptive else s) for w, s in zip(weights, scaled, strict=True)]


def flattened(here: Sequence[Tensor], there: Sequence[Tensor], alpha: float) -> list[Tensor]:
    """g2 - alpha v, where v is the part of the gradient `here` (g1) orthogonal to the perturbed one `there` (g2)."""
    a, b = norm(here), norm(there)
    cosine = sum((x * y).sum() for x, y in zip(here, there, strict=True)) / (a * b + EPSILON)
    along = cosine * a / (b + EPSILON)
    return [y - alpha * (x - along * y) for x, y in zip(here, there, strict=True)]


def flat_gradient(
    weights: Sequence[Tensor],
    gradient: Callable[[], Sequence[Tensor]],
    rho: float,
    alpha: float,
    adaptive: bool,
    each: Callable[[Callable], Callable] = lambda function: function,
) -> list[Tensor]:
    """GSAM's update direction at `weights`, which come back unchanged.

    Args:
        gradient: the loss's gradient at the weights as they are when it is called, on the same batch both times.
        each: makes a function of one network's tensors one of those given: `vmap` for several networks' (T, ...).
    """
    here = gradient()
    with torch.no_grad():
        kept = [w.clone() for w in weights]
        ahead = each(partial(perturbation, rho=rho, adaptive=adaptive))(list(weights), here)
        torch._foreach_add_(list(weights), ahead)
    there = gradient()
    with torch.no_grad():
        torch._foreach_copy_(list(weights), kept)
        return each(partial(flattened, alpha=alpha))(here, there)
