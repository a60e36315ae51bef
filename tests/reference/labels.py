"""LD in both variants as one straight loop, for comparison with the composed pipeline.

Bohdal, Yang and Hospedales (2020). Nothing of the pipeline is used; torch.optim.Adam takes all steps. The network
offers `embed(images) -> (n, F)` and a last layer `classifier`.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return -(targets * logits.log_softmax(1)).sum(1).mean()


def with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)


def learned_labels(
    ridge: bool,
    network: nn.Module,
    renew: Callable[[], None],
    images: Tensor,
    draws: Iterator[tuple[Tensor, Tensor, Tensor]],
    iterations: int,
    patience: int,
) -> tuple[Tensor, list[int], int]:
    """Labels (n, K) after so many iterations, the steps of each network that was replaced, those of the last one.

    Args:
        renew: gives the network new weights. draws: what an iteration sees: rows of `images` (n, c, h, w), a real batch
            and its classes.
    """
    classes = network.classifier.out_features
    y = torch.full((len(images), classes), 1 / classes, dtype=images.dtype, requires_grad=True)
    label_adam, used, fresh = torch.optim.Adam([y], 0.001), [], True
    for _ in range(iterations):
        rows, real, truth = next(draws)
        if fresh:
            renew()
            fresh, errors, best, when = False, [], float("inf"), 0
            adam = torch.optim.Adam(network.parameters(), 0.001)
            w = torch.zeros(network.classifier.in_features + 1, classes, dtype=images.dtype)
            s = torch.ones(1, dtype=images.dtype, requires_grad=True)
            scale_adam = torch.optim.Adam([s], 0.01)
        x = images[rows]
        if ridge:
            features = with_one(network.embed(x))
            kernel = features @ features.T + torch.eye(len(x), dtype=x.dtype)
            w = 0.99 * w.detach() + 0.01 * (features.T @ torch.linalg.inv(kernel) @ y[rows])
            logits = with_one(network.embed(real)) @ (s * w)
        else:
            own = soft_cross_entropy(network(x), y[rows])
            names = [name for name, _ in network.named_parameters()]
            slopes = torch.autograd.grad(own, list(network.parameters()), create_graph=True)
            ahead = {name: p - 0.01 * g for name, p, g in zip(names, network.parameters(), slopes, strict=True)}
            logits = functional_call(network, ahead, (real,))
        meta = -logits.log_softmax(1)[torch.arange(len(truth)), truth].mean()
        y.grad = torch.autograd.grad(meta, y, retain_graph=True)[0]
        label_adam.step()
        with torch.no_grad():
            y.clamp_(0, 1)
            y.div_(y.sum(1, keepdim=True))
        if ridge:
            own = soft_cross_entropy(features @ (s * w), y[rows].detach())
        trained = [s, *network.parameters()] if ridge else list(network.parameters())
        for p, g in zip(trained, torch.autograd.grad(own, trained, allow_unused=True), strict=True):
            p.grad = g
        adam.step()
        if ridge:
            scale_adam.step()
        errors.append(100 * float((logits.argmax(1) != truth).double().mean()))
        if len(errors) >= patience:
            total = sum(errors[-patience:])
            if total < best - 1e-9:
                best, when = total, len(errors)
            elif len(errors) > when + patience:
                used.append(when)
                fresh = True
    return y.detach(), used, 0 if fresh else len(errors)
