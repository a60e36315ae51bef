"""Unrolled training as one straight function, for comparison with the composed pipeline.

DD (Wang et al., 2018) and RTP (Deng and Russakovsky, NeurIPS 2022): T steps with the graph of all of them. Nothing of
the pipeline is used.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call


def meta_loss(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    lrs: Tensor,
    momentum: float,
    rows: Sequence[Sequence[int]],
    augment: Callable[[Tensor], Tensor],
    real: tuple[Tensor, Tensor],
) -> Tensor:
    """Cross-entropy on the augmented `real` images and labels after a step on each of `rows`, with its graph.

    Args:
        images: (V, c, h, w); targets: (V, K); lrs: (T,).
        rows: what each step sees.
    """
    weights = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    velocity = {name: torch.zeros_like(w) for name, w in weights.items()}
    for lr, row in zip(lrs, rows, strict=True):
        scores = functional_call(network, weights, augment(images[row]))
        loss = -(targets[row] * scores.log_softmax(1)).sum(1).mean()
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        velocity = {name: momentum * velocity[name] + g for name, g in zip(weights, gradients, strict=True)}
        weights = {name: w - lr * velocity[name] for name, w in weights.items()}
    return F.cross_entropy(functional_call(network, weights, augment(real[0])), real[1])
