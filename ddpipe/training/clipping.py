"""Gradients made shorter: as a whole by their norm, or each number by itself."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ddpipe import settings

Clip = Callable[[list[Tensor]], list[Tensor]]
Each = Callable[[Callable], Callable]  # makes a function of one network's tensors one of those given, as `Stack.each`

EPSILON = 1e-6  # beside the norm, as in torch.nn.utils.clip_grad_norm_


def alone(function: Callable) -> Callable:
    """`Each` where the tensors belong to one network, or to none."""
    return function


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """L2 norm over all entries of all tensors."""
    return torch.stack([torch.linalg.vector_norm(t) for t in tensors]).norm()


def by_norm(gradients: list[Tensor], most: float) -> list[Tensor]:
    """All together no longer than `most`, their direction kept."""
    factor = (most / (norm(gradients) + EPSILON)).clamp(max=1)
    return [factor * g for g in gradients]


def by_value(gradients: list[Tensor], most: float) -> list[Tensor]:
    """No number beyond `most` in either direction."""
    return [g.clamp(-most, most) for g in gradients]


def make(config: settings.Clip | None, each: Each = alone) -> Clip:
    """What `config` says; None: gradients as they are."""
    if config is not None and config.norm is not None:
        return each(partial(by_norm, most=config.norm))
    if config is not None and config.value is not None:
        return partial(by_value, most=config.value)
    return list
