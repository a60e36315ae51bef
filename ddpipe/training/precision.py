"""How exactly convolutions and products of a training are computed; weights and their steps are float32 always.

float32 is the reference: TensorFloat32 is off. "tf32" lets a CUDA device round their inputs to 10 bits of mantissa in
place of 23 and add up in float32; a CPU knows no such thing and computes what float32 says. "bfloat16" rounds inputs
and results to 7 bits, by torch's autocast, which leaves what it deems delicate in float32.
"""

import contextlib
from collections.abc import Iterator

import torch


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Around a forward pass: its backward pass is computed alike."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()


@contextlib.contextmanager
def rounding(precision: str, device: torch.device) -> Iterator[None]:
    """Around a whole step, its backward pass included: it is a setting of the process, which is taken back."""
    if precision != "tf32" or device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
