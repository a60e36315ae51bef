"""Gradient matching as straight functions, for comparison with the composed pipeline.

DC (Zhao et al., ICLR 2021) and, with an augmentation, DSA (Zhao and Bilen, ICML 2021); DCC (Lee et al., ICML 2022) and
Jiang et al. (2022). One graph of all classes. Nothing of the pipeline is used. Networks without batch norm only.

Of all, `real[k]` (n, c, h, w) holds images of class k, `synthetic` (K * ipc, c, h, w) the learned ones, class by class;
`augment(images, draws[k])` changes both batches of class k. All give the loss, and its gradient with respect to the
synthetic images.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def class_gradient(
    network: nn.Module, weights: Sequence[Tensor], images: Tensor, label: int, graph: bool = False
) -> tuple[Tensor, ...]:
    loss = F.cross_entropy(network(images), images.new_full((len(images),), label, dtype=torch.long))
    return torch.autograd.grad(loss, weights, create_graph=graph)


def angles(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.flatten(1), b.flatten(1)  # out in*kh*kw
    return (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()


def angles_and_lengths(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.flatten(1), b.flatten(1)  # out in*kh*kw
    return (1 - F.cosine_similarity(a, b) + (a - b).norm(dim=1)).sum()


def distance(mine: Sequence[Tensor], theirs: Sequence[Tensor], rows: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return torch.stack([rows(a, b) for a, b in zip(mine, theirs, strict=True)]).sum()


def compared(network: nn.Module) -> list[Tensor]:
    """Gradients of biases and norms are not."""
    return [p for p in network.parameters() if p.ndim > 1]


def dc_loss_and_gradient(
    network: nn.Module,
    real: Sequence[Tensor],
    synthetic: Tensor,
    ipc: int,
    augment: Callable | None = None,
    draws: Sequence | None = None,
) -> tuple[Tensor, Tensor]:
    """The distance summed over classes."""
    synthetic = synthetic.detach().requires_grad_()
    weights = compared(network)
    total = synthetic.new_zeros(())
    for k, real_images in enumerate(real):
        images = synthetic[k * ipc : (k + 1) * ipc]
        if augment is not None:
            real_images, images = augment(real_images, draws[k]), augment(images, draws[k])
        wanted = class_gradient(network, weights, real_images, k)
        total = total + distance(class_gradient(network, weights, images, k, graph=True), wanted, angles)
    (gradient,) = torch.autograd.grad(total, synthetic)
    return total.detach(), gradient


def dcc_loss_and_gradient(
    network: nn.Module,
    real: Sequence[Tensor],
    synthetic: Tensor,
    ipc: int,
    augment: Callable | None = None,
    draws: Sequence | None = None,
) -> tuple[Tensor, Tensor]:
    """The distance of the means over classes; the synthetic one is the gradient of all images in one batch."""
    synthetic = synthetic.detach().requires_grad_()
    weights, changed = compared(network), []
    wanted = [torch.zeros_like(weight) for weight in weights]
    for k, real_images in enumerate(real):
        images = synthetic[k * ipc : (k + 1) * ipc]
        if augment is not None:
            real_images, images = augment(real_images, draws[k]), augment(images, draws[k])
        changed.append(images)
        for mean, own in zip(wanted, class_gradient(network, weights, real_images, k), strict=True):
            mean += own / len(real)
    loss = F.cross_entropy(network(torch.cat(changed)), torch.arange(len(real)).repeat_interleave(ipc))
    total = distance(torch.autograd.grad(loss, weights, create_graph=True), wanted, angles)
    (gradient,) = torch.autograd.grad(total, synthetic)
    return total.detach(), gradient


def jiang_loss_and_gradient(
    network: nn.Module,
    real: Sequence[Tensor],
    synthetic: Tensor,
    ipc: int,
    augment: Callable | None = None,
    draws: Sequence | None = None,
) -> tuple[Tensor, Tensor]:
    """The distance summed over classes, and K times that of the means over them."""
    synthetic = synthetic.detach().requires_grad_()
    weights = compared(network)
    total = synthetic.new_zeros(())
    wanted, given = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    for k, real_images in enumerate(real):
        images = synthetic[k * ipc : (k + 1) * ipc]
        if augment is not None:
            real_images, images = augment(real_images, draws[k]), augment(images, draws[k])
        theirs = class_gradient(network, weights, real_images, k)
        mine = class_gradient(network, weights, images, k, graph=True)
        total = total + distance(mine, theirs, angles_and_lengths)
        wanted = [mean + own / len(real) for mean, own in zip(wanted, theirs, strict=True)]
        given = [mean + own / len(real) for mean, own in zip(given, mine, strict=True)]
    total = total + len(real) * distance(given, wanted, angles_and_lengths)
    (gradient,) = torch.autograd.grad(total, synthetic)
    return total.detach(), gradient
