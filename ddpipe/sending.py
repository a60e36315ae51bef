"""Tensors of the host on their way to the device, for which nobody waits.

A plain copy to an accelerator stops the host until everything queued before is done. One from pinned memory is queued
as a kernel is. On a CPU nothing moves.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """`tensor` on `device`; the same one where it lies there."""
    if tensor.device.type != "cpu" or torch.device(device).type == "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def sent_as(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` with the dtype of `like`, where that lies."""
    return sent(tensor.to(like.dtype), like.device)


def sent_together(tensors: Sequence[Tensor], device: torch.device | str) -> Sequence[Tensor]:
    """All of them, which are alike but for their lengths, in one copy."""
    if torch.device(device).type == "cpu" or not tensors:
        return tensors
    return sent(torch.cat(list(tensors)), device).split([len(tensor) for tensor in tensors])
