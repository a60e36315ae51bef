"""Fresh weights from a named generator: PyTorch's default law, or He's normal law for convolutions."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

N = TypeVar("N", bound=nn.Module)


@torch.no_grad()
def initialise_(network: N, rng: torch.Generator) -> N:
    """Set every parameter and buffer of `network` and return it.

    Weights and biases of convolutions and linear layers: uniform in +-1/sqrt(fan_in), PyTorch's default. A network
    whose `initialisation` is "he" has normal convolution weights instead, of std sqrt(2 / (kernel area x outputs))
    (He et al. 2015, by fan-out). Normalisation: scale 1, shift 0, running mean 0, running variance 1.

    Distillation calls this once per iteration, so all numbers come from one draw of a law on the CPU, whatever the
    device and dtype of the network: the same generator gives the same weights everywhere.

    Raises TypeError for a layer with tensors of its own that it does not know, rather than leaving them unset.
    """
    he = getattr(network, "initialisation", "default") == "he"
    uniform: list[tuple[Tensor, float]] = []  # tensor, bound
    normal: list[tuple[Tensor, float]] = []  # tensor, standard deviation
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            weight, bias = module.weight, module.bias
            fan_in = math.prod(weight.shape[1:])
            if he and isinstance(module, nn.Conv2d):
                normal.append((weight, math.sqrt(2 / (math.prod(weight.shape[2:]) * weight.shape[0]))))
            else:
                uniform.append((weight, 1 / math.sqrt(fan_in)))
            if bias is not None:
                uniform.append((bias, 1 / math.sqrt(fan_in)))
        elif isinstance(module, (nn.GroupNorm, _BatchNorm)):
            module.weight.fill_(1)
            module.bias.zero_()
            if isinstance(module, _BatchNorm):
                module.reset_running_stats()
        elif module._parameters or module._buffers:
            raise TypeError(f"initialise_ does not know how to fill a {type(module).__name__}")
    if uniform:
        _fill_(uniform, torch.empty(sum(t.numel() for t, _ in uniform)).uniform_(-1, 1, generator=rng))
    if normal:
        _fill_(normal, torch.empty(sum(t.numel() for t, _ in normal)).normal_(generator=rng))
    return network


def _fill_(tensors: list[tuple[Tensor, float]], numbers: Tensor) -> None:
    """Fill the tensors one after another with `numbers` times their scale."""
    pieces = numbers.to(tensors[0][0].device).split([tensor.numel() for tensor, _ in tensors])
    for (tensor, scale), piece in zip(tensors, pieces, strict=True):
        torch.mul(piece.view_as(tensor), scale, out=tensor)
