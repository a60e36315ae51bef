"""Layers of Generative Teaching Networks (Such et al., ICML 2020): weight norm, and batch norm by the mean alone."""

import torch
from torch import Tensor, nn

from ddpipe.networks.classifier import Conv2d, Linear

SLOPE = 0.1  # of the leaky ReLUs between them


def lengths(weight: Tensor) -> Tensor:
    """L2 norms of the weights of each output, (outputs, 1, ...)."""
    return torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.dim())), keepdim=True)


class WeightNormConv2d(Conv2d):
    """y = (W * x + b) g / |W|, for each output: the factor multiplies the bias too, as in the official code."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True):
        super().__init__(inputs, outputs, kernel, stride, padding, bias=bias)
        self.weight_g = nn.Parameter(torch.empty_like(self.weight[:, :1, :1, :1]))

    def forward(self, x: Tensor) -> Tensor:  # (n, inputs, h, w) -> (n, outputs, h, w)
        return super().forward(x) * (self.weight_g / lengths(self.weight)).transpose(0, 1)


class WeightNormLinear(Linear):
    """y = (W x + b) g / |W|, for each output."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        super().__init__(inputs, outputs, bias)
        self.weight_g = nn.Parameter(torch.empty_like(self.weight[:, :1]))

    def forward(self, x: Tensor) -> Tensor:  # (n, inputs) -> (n, outputs)
        return super().forward(x) * (self.weight_g / lengths(self.weight)).transpose(0, 1)


def keep_weights_(layer: nn.Module) -> None:
    """Give a layer with weight norm the gain with which its weights act as they are; leave others alone."""
    if isinstance(layer, WeightNormConv2d | WeightNormLinear):
        layer.weight_g.copy_(lengths(layer.weight))


class MeanOnlyBatchNorm(nn.Module):
    """x less the mean of its batch, plus a bias for each channel; evaluated with the mean of the last batch.

    That mean is kept without its graph, unless the buffer lent for a call (`torch.func.functional_call`) requires a
    gradient: whoever wants to differentiate through the evaluation lends one that does.
    """

    running_mean: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:  # (n, c, ...)
        mean = self.running_mean
        if self.training:
            mean = x.mean([0, *range(2, x.dim())])
            self.running_mean.copy_(mean if self.running_mean.requires_grad else mean.detach())
        return x + (self.bias - mean).view(-1, *[1] * (x.dim() - 2))
