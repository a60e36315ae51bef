"""Plain SGD unrolled over given batches, and gradients through it: the machinery of trajectory matching.

theta_(i+1) = theta_i - lr g_i, where g_i is the gradient of the mean cross-entropy at theta_i on batch i. Because the
update is that simple, its exact reverse sweep needs the vectors theta_i and the graph of one step at a time, where
plain automatic differentiation holds N graphs. Parameters are one flat vector (P,) in the network's order.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ddpipe.synthetic.batch import Batch


class Gradient:
    """The gradient of the mean cross-entropy as a function of flat parameters, images and targets."""

    def __init__(self, network: nn.Module):
        self.network = network.train()
        named = dict(network.named_parameters())
        self.names, self.shapes = list(named), [p.shape for p in named.values()]
        self.counts = [p.numel() for p in named.values()]

    def logits(self, theta: Tensor, images: Tensor) -> Tensor:
        """theta (P,), images (n, c, h, w) -> (n, K)."""
        parts = theta.split(self.counts)
        weights = {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}
        return functional_call(self.network, weights, (images,))

    def loss(self, theta: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(theta, images), targets)

    def __call__(self, theta: Tensor, batch: Batch) -> Tensor:
        """(P,) at `theta`, without a graph."""
        theta = theta.detach().requires_grad_()
        return torch.autograd.grad(self.loss(theta, *batch), theta)[0]

    def with_graph(self, theta: Tensor, batch: Batch) -> Tensor:
        """(P,) at `theta`, which must require a gradient; differentiable by `theta` and the images."""
        return torch.autograd.grad(self.loss(theta, *batch), theta, create_graph=True)[0]

    def pull_back(self, theta: Tensor, batch: Batch, pull: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient (P,), and the derivatives of <pull, gradient> by images and theta, `pull` (P,) being fixed."""
        theta, images = theta.detach().requires_grad_(), batch.images.detach().requires_grad_()
        gradient = self.with_graph(theta, Batch(images, batch.targets))
        by_images, by_theta = torch.autograd.grad(gradient, (images, theta), pull)
        return gradient.detach(), by_images, by_theta


class Compiled(Gradient):
    """The same through torch.compile: one compiled function for a step and one for pulling back through it.

    Written with torch.func, because a compiled region cannot be differentiated twice from outside.
    """

    def __init__(self, network: nn.Module):
        super().__init__(network)
        by_theta = torch.func.grad(self.loss)

        def pulled(theta: Tensor, images: Tensor, targets: Tensor, pull: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            gradient, back, *_ = torch.func.vjp(lambda t, x: by_theta(t, x, targets), theta, images)
            by_weights, by_images = back(pull)
            return gradient, by_images, by_weights

        self.step = torch.compile(by_theta, fullgraph=True, dynamic=False)
        self.back = torch.compile(pulled, fullgraph=True, dynamic=False)

    def __call__(self, theta: Tensor, batch: Batch) -> Tensor:
        return self.step(theta, *batch)

    def pull_back(self, theta: Tensor, batch: Batch, pull: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.back(theta, *batch, pull)


def walk(gradient: Gradient, start: Tensor, batches: Sequence[Batch], lr: Tensor) -> list[Tensor]:
    """theta_0 = `start`, ..., theta_N of plain SGD, (P,) each, without graphs."""
    thetas = [start.detach()]
    for batch in batches:
        thetas.append(thetas[-1] - lr * gradient(thetas[-1], batch))
    return thetas


def sweep(
    gradient: Gradient,
    thetas: Sequence[Tensor],
    batches: Sequence[Batch],
    lr: Tensor,
    pull: Tensor,
    truncated: bool = False,
) -> tuple[list[Tensor], Tensor]:
    """Pull a gradient with respect to the end of a walk back to the images of every batch and to the step size.

    Args:
        thetas: what `walk` returned for these batches; images (n, c, h, w) without a graph.
        pull: (P,) derivative of the objective with respect to theta_N.
        truncated: leave out how a batch moves the later steps (TESLA, Cui et al., ICML 2023): every Hessian is 0.

    Returns:
        The derivative with respect to each batch's images, and with respect to `lr`, ().
    """
    moved: list[Tensor] = []
    by_lr = torch.zeros_like(lr)
    for theta, batch in zip(reversed(thetas[:-1]), reversed(batches), strict=True):
        step, by_images, by_theta = gradient.pull_back(theta, batch, pull)
        by_lr = by_lr - pull @ step
        moved.append(-lr * by_images)
        if not truncated:
            pull = pull - lr * by_theta
    return moved[::-1], by_lr


def through_graph(gradient: Gradient, start: Tensor, batches: Sequence[Batch], lr: Tensor) -> Tensor:
    """theta_N (P,) with the graph of all N steps: the reference for `sweep`, at N times its memory."""
    theta = start.detach().requires_grad_()
    for batch in batches:
        theta = theta - lr * gradient.with_graph(theta, batch)
    return theta
