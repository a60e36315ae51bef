"""Fresh weights from a named generator: PyTorch's default law and the ones that published methods replace it by."""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ddpipe.networks.classifier import Initialisation
from ddpipe.networks.weightnorm import MeanOnlyBatchNorm, keep_weights_
from ddpipe.sending import sent

N = TypeVar("N", bound=nn.Module)
Scale = tuple[str, float]  # a distribution and the factor that its numbers are multiplied by

KERNEL_BIAS = 0.1  # standard deviation; of the NTK parametrisation that KIP and RFAD take their networks from
CUT = 2.0  # standard deviations at which "truncated" ends
CUT_STD = 0.87962566103423978  # standard deviation of what is left of a standard normal


def _uniform(count: int, rng: torch.Generator) -> Tensor:
    return torch.empty(count).uniform_(-1, 1, generator=rng)


def _normal(count: int, rng: torch.Generator) -> Tensor:
    return torch.empty(count).normal_(generator=rng)


def _truncated(count: int, rng: torch.Generator) -> Tensor:
    """Standard normal numbers within +-CUT, through the inverse of their distribution function."""
    probability = _uniform(count, rng) * math.erf(CUT / math.sqrt(2))
    return probability.erfinv_().mul_(math.sqrt(2)).clamp_(-CUT, CUT)


DISTRIBUTIONS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "uniform": _uniform,  # in +-1
    "normal": _normal,  # of variance 1
    "truncated": _truncated,
}


def law(initialisation: Initialisation, layer: nn.Conv2d | nn.Linear) -> tuple[Scale, Scale | None]:
    """How the weight and the bias of `layer` are drawn; None: zero.

    default: PyTorch's, uniform in +-1/sqrt(fan_in).
    he: normal weights of convolutions of variance 2 / (kernel area x outputs) (He et al. 2015, by fan-out).
    xavier: normal weights of variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, gain 1), no bias.
    lecun: normal weights of variance 1 / fan_in, cut off at two of the uncut standard deviations, no bias (flax).
    kernel: normal weights of variance 2 / fan_in and biases of standard deviation 0.1, in the last layer too.
    kaiming: normal weights of variance 2 / fan_in, biases by default (He et al. 2015; GTN).
    """
    fan_in = math.prod(layer.weight.shape[1:])
    fan_out = layer.weight.shape[0] * math.prod(layer.weight.shape[2:])
    default = ("uniform", 1 / math.sqrt(fan_in))
    match initialisation:
        case "he":
            return ("normal", math.sqrt(2 / fan_out)) if isinstance(layer, nn.Conv2d) else default, default
        case "xavier":
            return ("normal", math.sqrt(2 / (fan_in + fan_out))), None
        case "lecun":
            return ("truncated", 1 / (math.sqrt(fan_in) * CUT_STD)), None
        case "kernel":
            return ("normal", math.sqrt(2 / fan_in)), ("normal", KERNEL_BIAS)
        case "kaiming":
            return ("normal", math.sqrt(2 / fan_in)), default
        case _:
            return default, default


@torch.no_grad()
def initialise_(network: N, rng: torch.Generator) -> N:
    """Set every parameter and buffer of `network` and return it.

    Convolutions and linear layers by the `law` that the network's `initialisation` names. Normalisation: scale 1,
    shift 0, running mean 0, running variance 1. Weight norm: a gain that leaves the first weights as they are.

    Distillation calls this once per iteration, so all numbers come from one draw of a distribution on the CPU, whatever
    the device and dtype of the network: the same generator gives the same weights everywhere.

    Raises TypeError for a layer with tensors of its own that it does not know, rather than leaving them unset.
    """
    initialisation: Initialisation = getattr(network, "initialisation", "default")
    drawn: dict[str, list[tuple[Tensor, float]]] = {name: [] for name in DISTRIBUTIONS}  # tensors and their factors
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            for tensor, scale in zip((module.weight, module.bias), law(initialisation, module), strict=True):
                if tensor is None:
                    continue
                if scale is None:
                    tensor.zero_()
                else:
                    drawn[scale[0]].append((tensor, scale[1]))
        elif isinstance(module, (nn.GroupNorm, _BatchNorm)):
            module.weight.fill_(1)
            module.bias.zero_()
            if isinstance(module, _BatchNorm):
                module.reset_running_stats()
        elif isinstance(module, MeanOnlyBatchNorm):
            module.bias.zero_()
            module.running_mean.zero_()
        elif module._parameters or module._buffers:
            raise TypeError(f"initialise_ does not know how to fill a {type(module).__name__}")
    for name, tensors in drawn.items():
        if tensors:
            _fill_(tensors, DISTRIBUTIONS[name](sum(t.numel() for t, _ in tensors), rng))
    for module in network.modules():
        keep_weights_(module)
    return network


def _fill_(tensors: list[tuple[Tensor, float]], numbers: Tensor) -> None:
    """Fill the tensors one after another with `numbers` times their factor."""
    pieces = sent(numbers, tensors[0][0].device).split([tensor.numel() for tensor, _ in tensors])
    for (tensor, scale), piece in zip(tensors, pieces, strict=True):
        torch.mul(piece.view_as(tensor), scale, out=tensor)
