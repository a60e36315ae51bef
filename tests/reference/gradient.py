"""Gradient matching as one straight function, for comparison with the composed pipeline.

DC (Zhao et al., ICLR 2021) and, with an augmentation, DSA (Zhao and Bilen, ICML 2021). Nothing of the pipeline is used.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def dc_loss_and_gradient(
    network: nn.Module,
    real: Sequence[Tensor],
    synthetic: Tensor,
    ipc: int,
    augment: Callable | None = None,
    draws: Sequence | None = None,
) -> tuple[Tensor, Tensor]:
    """The matching loss summed over classes, and its gradient with respect to the synthetic images.

    `real[k]` (n, c, h, w) holds images of class k, `synthetic` (K * ipc, c, h, w) the learned ones, class by class.
    `augment(images, draws[k])` changes both batches of class k. Networks without batch norm only.
    """
    synthetic = synthetic.detach().requires_grad_()
    weights = [p for p in network.parameters() if p.ndim > 1]  # gradients of biases and norms are not compared
    total = synthetic.new_zeros(())
    for k, real_images in enumerate(real):
        images = synthetic[k * ipc : (k + 1) * ipc]
        if augment is not None:
            real_images, images = augment(real_images, draws[k]), augment(images, draws[k])
        real_loss = F.cross_entropy(
            network(real_images), real_images.new_full((len(real_images),), k, dtype=torch.long)
        )
        wanted = torch.autograd.grad(real_loss, weights)
        loss = F.cross_entropy(network(images), images.new_full((ipc,), k, dtype=torch.long))
        given = torch.autograd.grad(loss, weights, create_graph=True)
        for a, b in zip(wanted, given, strict=True):
            a, b = a.flatten(1), b.flatten(1)  # out in*kh*kw
            total = total + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
    (gradient,) = torch.autograd.grad(total, synthetic)
    return total.detach(), gradient
