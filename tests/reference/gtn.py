"""Generative Teaching Networks (Such et al., ICML 2020) as straight functions, for comparison with the pipeline.

One graph of all steps, nothing of the pipeline is used. Parameters are lists in the official order.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def normed(y: Tensor, weight: Tensor, gain: Tensor) -> Tensor:
    return y * (gain.flatten() / weight.flatten(1).norm(dim=1)).view(1, -1, *[1] * (y.dim() - 2))


def batch_normed(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    axes, shape = [0, *range(2, x.dim())], (1, -1, *[1] * (x.dim() - 2))
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return F.leaky_relu((x - mean) / (variance + 1e-5).sqrt() * scale.view(shape) + shift.view(shape), 0.1)


def generated(weights: Sequence[Tensor], noise: Tensor, labels: Tensor, classes: int, side: int) -> Tensor:
    """Images of one batch of noise (B, Z) and labels (B,)."""
    w = iter(weights)
    x = torch.cat([noise, torch.eye(classes).to(noise)[labels]], 1)
    for _ in range(2):
        weight, gain = next(w), next(w)
        x = batch_normed(normed(x @ weight.T, weight, gain), next(w), next(w))
    small = -(-side // 4)
    x = x.view(len(x), -1, small, small)
    for last in (False, True):
        x = F.pad(x.repeat_interleave(2, 2).repeat_interleave(2, 3), (1, 1, 1, 1), mode="reflect")
        weight = next(w)
        bias, gain = (next(w), next(w)) if last else (None, next(w))
        x = normed(F.conv2d(x, weight, bias), weight, gain)
        x = 2 * x.tanh() if last else batch_normed(x, next(w), next(w))
    return x[..., :side, :side]


def learned(weights: Sequence[Tensor], means: Sequence[Tensor] | None, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits of MNIST's learner, and the means that its norms took: those of `images`, or the given ones."""
    w, found = iter(weights), []

    def shifted(x: Tensor, bias: Tensor) -> Tensor:
        found.append(x.mean([0, *range(2, x.dim())]) if means is None else means[len(found)])
        return F.leaky_relu(x - (found[-1] - bias).view(1, -1, *[1] * (x.dim() - 2)), 0.1)

    x = images
    for _ in range(2):
        weight, gain = next(w), next(w)
        x = F.max_pool2d(normed(F.conv2d(x, weight, None, padding=1), weight, gain), 3, 2, 1)
        x = shifted(x, next(w))
    weight, bias, gain = next(w), next(w), next(w)
    x = shifted(normed(F.linear(x.flatten(1), weight, bias), weight, gain), next(w))
    weight, bias, gain = w
    return normed(F.linear(x, weight, bias), weight, gain), found


def meta_loss(
    generator: Sequence[Tensor],
    noise: Tensor,
    log_lrs: Tensor,
    log_momenta: Tensor,
    start: Sequence[Tensor],
    classes: int,
    real: Mapping[int, tuple[Tensor, Tensor]],
) -> Tensor:
    """The sum of the cross-entropies on the `real` images and labels of each step that has some, with its graph.

    Args:
        noise: (T, B, Z).
        start: the learner's first weights.
        real: t -> on which the learner is judged before step t; T: after the last.
    """
    weights, value = [p.detach().clone().requires_grad_() for p in start], torch.zeros(()).to(noise)
    velocity, means = [torch.zeros_like(p) for p in weights], None
    for t in range(len(noise) + 1):
        if t in real:
            images, labels = real[t]
            value = value + F.cross_entropy(learned(weights, means, images)[0], labels)
        if t == len(noise):
            return value
        labels = (t * len(noise[t]) + torch.arange(len(noise[t]))) % classes
        images = generated(generator, noise[t], labels, classes, side=next(iter(real.values()))[0].shape[-1])
        logits, means = learned(weights, None, images)
        moves = torch.autograd.grad(F.cross_entropy(logits, labels), weights, create_graph=True)
        velocity = [log_momenta[t].exp() * v + move for v, move in zip(velocity, moves, strict=True)]
        weights = [p - log_lrs[t].exp() * v for p, v in zip(weights, velocity, strict=True)]
    raise AssertionError("the last look comes after the last step")
