"""RFAD and FRePo as straight loops, for comparison with the composed pipeline.

Loo et al. (2022); Zhou et al. (2022). Nothing of the pipeline is used but networks with `embed(images) -> (n, F)`.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Real = Callable[[], tuple[Tensor, Tensor]]  # images and classes of an iteration's real batch


def ridge(k_ts: Tensor, k_ss: Tensor, y: Tensor, lam: float) -> Tensor:
    k_ss, n = k_ss.double(), len(k_ss)
    return k_ts.double() @ torch.linalg.solve(
        k_ss + lam * k_ss.trace() / n * torch.eye(n, dtype=k_ss.dtype), y.double()
    )


class AdaBelief:
    """torch_optimizer's, of one tensor."""

    def __init__(self, p: Tensor, lr: float):
        self.p, self.lr, self.t = p, lr, 0
        self.m, self.v = torch.zeros_like(p), torch.zeros_like(p)

    @torch.no_grad()
    def step(self, g: Tensor) -> None:
        self.t += 1
        self.m.mul_(0.9).add_(g, alpha=0.1)
        gap = g - self.m
        self.v.mul_(0.999).addcmul_(gap, gap, value=0.001).add_(1e-16)
        root = (self.v.sqrt() / math.sqrt(1 - 0.999**self.t)).add_(1e-16)
        self.p.addcdiv_(self.m, root, value=-self.lr / (1 - 0.9**self.t))


class Lamb:
    """optax's, of one tensor, without weight decay; the learning rate falls along a cosine to a tenth."""

    def __init__(self, p: Tensor, lr: float, total: int):
        self.p, self.lr, self.total, self.t = p, lr, total, 0
        self.m, self.v = torch.zeros_like(p), torch.zeros_like(p)

    @torch.no_grad()
    def step(self, g: Tensor) -> None:
        lr = self.lr * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * self.t / self.total)))
        self.t += 1
        self.m.mul_(0.9).add_(g, alpha=0.1)
        self.v.mul_(0.999).addcmul_(g, g, value=0.001)
        u = (self.m / (1 - 0.9**self.t)) / ((self.v / (1 - 0.999**self.t)).sqrt() + 1e-6)
        self.p.sub_(lr * self.p.norm() / u.norm() * u)


def rfad(
    x: Tensor, y: Tensor, networks: Sequence[nn.Module], renew: Callable[[nn.Module], None], real: Real, jit: float
) -> Iterator[tuple[Tensor, float]]:
    """The images, (n, c, h, w), and the loss after each iteration.

    Args:
        x, y: images that it begins with and their targets, less 1 / K. renew: gives a network new weights.
    """
    x, b, k = (
        x.clone().requires_grad_(),
        torch.eye(x[0].numel()).to(x).requires_grad_(),
        torch.zeros(()).requires_grad_(),
    )
    steps = [AdaBelief(x, 1e-3), AdaBelief(b, 5e-5), AdaBelief(k, 1e-2)]

    def features(images: Tensor) -> Tensor:
        found = torch.cat([network.embed(images) for network in networks], 1)
        return found / math.sqrt(found.shape[1])

    while True:
        for network in networks:
            renew(network)
        theirs, labels = real()
        with torch.no_grad():
            f_t = features(theirs)
        f_s = features((x.flatten(1) @ b).view_as(x))
        found = ridge(2 * f_t @ f_s.T + 0.01, 2 * f_s @ f_s.T + 0.01, y, jit)
        loss = F.cross_entropy(k.exp() * found, labels)
        for step, slope in zip(steps, torch.autograd.grad(loss, [x, b, k]), strict=True):
            step.step(slope)
        yield (x.flatten(1) @ b).view_as(x).detach(), float(loss.detach())


def frepo(
    x: Tensor,
    y: Tensor,
    networks: Sequence[nn.Module],
    renew: Callable[[nn.Module], None],
    chosen: Callable[[], int],
    real: Real,
    total: int,
    lr: float,
    life: int,
    flipped: bool,
) -> Iterator[tuple[Tensor, Tensor, float]]:
    """The images (n, c, h, w), their targets (n, K) and the loss after each of `total` iterations.

    Args:
        networks: the pool. chosen: draws the number of one. life: online steps, plus one, after which it is replaced.
    """
    m, classes = len(networks), y.shape[1]
    for network in networks:
        renew(network)
    adams = [torch.optim.Adam(network.parameters(), 3e-4) for network in networks]
    counters = [number * life // m for number in range(m)]
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    steps, current = [Lamb(x, lr, total), Lamb(y, lr, total)], chosen()
    while True:
        theirs, labels = real()
        network = networks[current].eval()
        with torch.no_grad():
            f_t = network.embed(theirs)
        both = torch.cat([x, x.flip(3)]) if flipped else x
        f_s = network.embed(both)
        found = ridge(f_t @ f_s.T, f_s @ f_s.T, torch.cat([y, y]) if flipped else y, 1e-6)
        wanted = F.one_hot(labels, classes).double() - 1 / classes
        top = y.topk(2, dim=1).values
        loss = 0.5 * (found - wanted).square().sum(1).mean()
        loss = loss + (1 / classes - (top[:, 0] - top[:, 1]).clamp(max=1 / classes)).mean()
        for step, slope in zip(steps, torch.autograd.grad(loss, [x, y]), strict=True):
            step.step(slope)
        yield x.detach(), y.detach(), float(loss.detach())
        if counters[current] > life:
            renew(network)
            adams[current], counters[current] = torch.optim.Adam(network.parameters(), 3e-4), 0
        else:
            own = 0.5 * (network.train()(x.detach()) - y.detach()).square().sum(1).mean()
            adams[current].zero_grad()
            own.backward()
            adams[current].step()
            counters[current] += 1
        current = chosen()
