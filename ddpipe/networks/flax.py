"""Batch normalisation as flax has it: FRePo's networks (Zhou et al., NeurIPS 2022) are meant to be trained with it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEPT = 0.1  # of the running statistics at each step: what FRePo calls its momentum, the rest is the batch's


class FlaxBatchNorm(nn.BatchNorm2d):
    """Running statistics move by nine tenths at each batch, and the variance among them is divided by n, not n - 1."""

    def __init__(self, channels: int):
        super().__init__(channels, momentum=1 - KEPT)

    def forward(self, x: Tensor) -> Tensor:  # (n, c, h, w)
        mean, var = self.running_mean, self.running_var
        assert mean is not None and var is not None
        if not self.training:
            return super().forward(x)
        count, moved, spread = x.numel() // x.shape[1], mean.clone(), var.clone()  # autograd looks after the copies
        found = F.batch_norm(x, moved, spread, self.weight, self.bias, True, 1 - KEPT, self.eps)
        with torch.no_grad():
            mean.copy_(moved)
            var.copy_(torch.lerp(spread, KEPT * var, 1 / count))  # torch multiplies what it adds by n / (n - 1)
        return found
