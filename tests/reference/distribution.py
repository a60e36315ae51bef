"""Distribution matching as one straight function, for comparison with the composed pipeline.

DM (Zhao and Bilen, WACV 2023). Nothing of the pipeline is used; the network offers `embed(images) -> (n, F)`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def dm_loss_and_gradient(
    network: nn.Module,
    real: Sequence[Tensor],
    synthetic: Tensor,
    ipc: int,
    augment: Callable | None = None,
    draws: Sequence | None = None,
) -> tuple[Tensor, Tensor]:
    """The squared distance of mean embeddings summed over classes, and its gradient by the synthetic images.

    `real[k]` (n, c, h, w) holds images of class k, `synthetic` (K * ipc, c, h, w) the learned ones, class by class.
    `augment(images, draws[k])` changes both batches of class k. All classes go through the network in one batch, which
    is what batch norm needs and costs other networks nothing.
    """
    synthetic = synthetic.detach().requires_grad_()
    real, learned = list(real), list(synthetic.split(ipc))
    if augment is not None:
        real = [augment(images, draw) for images, draw in zip(real, draws, strict=True)]
        learned = [augment(images, draw) for images, draw in zip(learned, draws, strict=True)]
    with torch.no_grad():
        embedded = network.embed(torch.cat(real)).split([len(images) for images in real])
        wanted = torch.stack([features.mean(0) for features in embedded])  # K F
    given = network.embed(torch.cat(learned)).unflatten(0, (-1, ipc)).mean(1)  # K F
    loss = (wanted - given).square().sum()
    (gradient,) = torch.autograd.grad(loss, synthetic)  # skips the weights
    return loss.detach(), gradient
