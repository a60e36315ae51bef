"""Trajectory matching as one straight function, for comparison with the composed pipeline.

MTT (Cazenavette et al., CVPR 2022): N steps of SGD with the graph of all of them. Nothing of the pipeline is used.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call


def mtt_loss_and_gradient(
    network: nn.Module,
    start: Tensor,
    target: Tensor,
    synthetic: Tensor,
    labels: Tensor,
    lr: Tensor,
    batches: Sequence[Tensor],
    augment: Callable,
    draws: Sequence,
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, and its gradients with respect to the synthetic images and the step size.

    `start` and `target` (P,) are weights in the network's order, `batches` the row numbers of each step into
    `synthetic` (V, c, h, w) and `labels` (V,), `draws` what each step's batch is augmented with.
    """
    synthetic, lr = synthetic.detach().requires_grad_(), lr.detach().requires_grad_()
    weights, at = {}, 0
    for name, p in network.named_parameters():
        weights[name] = start[at : at + p.numel()].view(p.shape).clone().requires_grad_()
        at += p.numel()
    for rows, draw in zip(batches, draws, strict=True):
        loss = F.cross_entropy(functional_call(network, weights, augment(synthetic[rows], draw)), labels[rows])
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        weights = {name: w - lr * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
    end = torch.cat([w.flatten() for w in weights.values()])
    loss = (end - target).square().sum() / (start - target).square().sum()
    return loss.detach(), *torch.autograd.grad(loss, (synthetic, lr))
