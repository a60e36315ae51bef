"""Plain SGD unrolled over given batches, and gradients through it: the machinery of trajectory matching.

theta_(i+1) = theta_i - lr g_i, where g_i is the gradient of the mean cross-entropy at theta_i on batch i. Because the
update is that simple, its exact reverse sweep needs the vectors theta_i and the graph of one step at a time, where
plain automatic differentiation holds N graphs. Parameters are one flat vector (P,) in the network's order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ddpipe.training.batch import Batch


class Step(NamedTuple):
    """One step of a walk: after = theta - lr * gradient(theta, batch)."""

    theta: Tensor  # (P,)
    after: Tensor  # (P,)
    batch: Batch
    lr: Tensor  # ()


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

    def pull_back(self, step: Step, pull: Tensor, further: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
        """<pull, gradient> (), and its derivatives by images and theta, `pull` (P,) being fixed.

        Args:
            further: whether the one by theta, a Hessian-vector product, is wanted; None without.
        """
        theta, images = step.theta.detach().requires_grad_(), step.batch.images.detach().requires_grad_()
        gradient = self.with_graph(theta, Batch(images, step.batch.targets))
        by_images, *by_theta = torch.autograd.grad(gradient, (images, theta) if further else (images,), pull)
        return pull @ gradient.detach(), by_images, by_theta[0] if further else None


class Compiled(Gradient):
    """The same through torch.compile: a compiled function for a step and two for pulling back through it.

    Written with torch.func, because a compiled region cannot be differentiated twice from outside. The gradient itself
    is known from the step, so that the compiler may leave out what only leads to it.
    """

    def __init__(self, network: nn.Module):
        super().__init__(network)
        by_theta = torch.func.grad(self.loss)

        def both(theta: Tensor, images: Tensor, targets: Tensor, pull: Tensor) -> tuple[Tensor, Tensor]:
            _, back, *_ = torch.func.vjp(lambda x, t: by_theta(t, x, targets), images, theta)
            return back(pull)

        def images_alone(theta: Tensor, images: Tensor, targets: Tensor, pull: Tensor) -> tuple[Tensor]:
            _, back, *_ = torch.func.vjp(lambda x: by_theta(theta, x, targets), images)
            return back(pull)

        self.step = torch.compile(by_theta, fullgraph=True, dynamic=False)
        self.back = {
            further: torch.compile(function, fullgraph=True, dynamic=False)
            for further, function in ((True, both), (False, images_alone))
        }

    def __call__(self, theta: Tensor, batch: Batch) -> Tensor:
        return self.step(theta, *batch)

    def pull_back(self, step: Step, pull: Tensor, further: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
        by_images, *by_theta = self.back[further](step.theta, *step.batch, pull)
        return pull @ (step.theta - step.after) / step.lr, by_images, by_theta[0] if further else None


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
    for number in reversed(range(len(batches))):
        step = Step(thetas[number], thetas[number + 1], batches[number], lr)
        slope, by_images, by_theta = gradient.pull_back(step, pull, further=number > 0 and not truncated)
        by_lr = by_lr - slope
        moved.append(-lr * by_images)
        if by_theta is not None:
            pull = pull - lr * by_theta
    return moved[::-1], by_lr


def through_graph(gradient: Gradient, start: Tensor, batches: Sequence[Batch], lr: Tensor) -> Tensor:
    """theta_N (P,) with the graph of all N steps: the reference for `sweep`, at N times its memory."""
    theta = start.detach().requires_grad_()
    for batch in batches:
        theta = theta - lr * gradient.with_graph(theta, batch)
    return theta
