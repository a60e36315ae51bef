"""Ridge regression with the kernel of the network at infinite width."""

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe.distilled.standalone.criteria import targets

NUMBERS = 2**22  # of a covariance, about, that are held at once
Layers = tuple[bool, int, list[int], bool]
Covariance = dict[tuple[int, int], Tensor]  # distance of two pixels -> (n, m, h, w) for each first pixel that has one


def learn(net: nn.Module, about: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """Let `net` answer by the regression of the targets: it keeps its layers, of which none is asked."""
    rules, x = about["training"], arrays["images"].double()
    own = kernel(x, x, about)
    own.diagonal().add_(rules["regularisation"] * own.diagonal().mean())
    solved = torch.linalg.solve(own, targets("squared-error", about, arrays).double())
    net.forward = lambda images: kernel(images.double(), x, about) @ solved


def layers(network: dict[str, Any]) -> Layers:
    """Whether they are dense, how many have a ReLU, which are pooled, and whether the last map is averaged."""
    if network["kind"] == "plain":
        return network["layer"] == "dense", network["depth"], list(network["pooled"]), network["readout"] == "mean"
    depth = network["depth"] + network["prepended"]
    return False, depth, list(range(1 + network["prepended"], depth + 1)), False


def kernel(x: Tensor, y: Tensor, about: dict[str, Any]) -> Tensor:
    """(n, m), between images (n, c, h, w) and (m, c, h, w)."""
    how, tangent = layers(about["network"]), about["training"]["kernel"] == "ntk"
    x, y = (z.flatten(1)[..., None, None] if how[0] else z for z in (x, y))
    reach = x.shape[2] - 1 if how[3] else 2 ** len(how[2]) - 1
    size = max(1, NUMBERS // (len(y) * (2 * reach + 1) ** 2 * x.shape[2] ** 2))
    theirs = [r.transpose(0, 1) for r in variances(y, how)]
    parts = [walk(part[:, None], y[None], reach, variances(part, how), theirs, how, tangent) for part in x.split(size)]
    return torch.cat(parts)


def variances(x: Tensor, how: Layers) -> list[Tensor]:
    """(n, 1, h, w) in front of each ReLU."""
    _, depth, pooled, _ = how
    found: list[Tensor] = []
    walk(x[:, None], x[:, None], 2 ** sum(number < depth for number in pooled) - 1, found, found, how)
    return found


def walk(
    x: Tensor, y: Tensor, reach: int, q: list[Tensor], r: list[Tensor], how: Layers, tangent: bool = False
) -> Tensor:
    """The kernel of x with y, (n, 1, c, h, w) and (1, m, c, h, w); empty q and r become the variances of x = y."""
    (dense, depth, pooled, mean), side, own = how, x.shape[3], not q
    spans = {d: slice(max(0, -d), min(side, side - d)) for d in range(-reach, reach + 1) if abs(d) < side}
    k = {
        (a, b): (x[..., h, w] * y[..., moved(h, a), moved(w, b)]).mean(2)
        for (a, h), (b, w) in itertools.product(spans.items(), repeat=2)
    }
    t = {at: torch.zeros_like(values) for at, values in k.items()}
    for number in range(1, depth + 1):
        for at, values in k.items():
            t[at], k[at] = (2 * (z if dense else F.avg_pool2d(z, 3, 1, 1)) + 0.01 for z in (values + t[at], values))
        if own:
            q.append(k[0, 0])
            if number == depth:
                break
        for at, values in k.items():
            h, w = (slice(max(0, -d), min(side, side - d)) for d in at)
            square = q[number - 1][..., h, w] * r[number - 1][..., moved(h, at[0]), moved(w, at[1])]
            s = (square - values**2).clamp(min=0).sqrt()
            d = 0.5 - torch.atan2(s, values) / (2 * math.pi)
            k[at], t[at] = s / (2 * math.pi) + d * values, d * t[at]
        if number in pooled:
            k, t = halved(k, side), halved(t, side)
            side //= 2
    k_end, t_end = (
        torch.stack([z.sum((2, 3)) for z in c.values()]).sum(0) / side**4 if mean else c[0, 0].mean((2, 3))
        for c in (k, t)
    )
    return 2 * (k_end + t_end if tangent else k_end) + 0.01


def moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)


def halved(k: Covariance, side: int) -> Covariance:
    """2x2 means of both images: at distance D those of the distances from 2 D - 1 to 2 D + 1."""
    half, reach = side // 2, max(a for a, _ in k)
    found = {}
    for at in itertools.product(range(-((reach - 1) // 2), (reach - 1) // 2 + 1), repeat=2):
        spans = [slice(max(0, -d), min(half, half - d)) for d in at]
        parts = []
        for ends in itertools.product((0, 1), repeat=4):
            pairs = list(zip(at, ends[:2], ends[2:], strict=True))
            source = k[tuple(2 * d + second - first for d, first, second in pairs)]  # type: ignore[index]
            starts = [max(0, -(2 * d + second - first)) for d, first, second in pairs]
            h, w = (
                slice(2 * span.start + first - start, 2 * (span.stop - 1) + first - start + 1, 2)
                for span, (_, first, _), start in zip(spans, pairs, starts, strict=True)
            )
            parts.append(source[..., h, w])
        found[at] = torch.stack(parts).sum(0) / 16
    return found  # type: ignore[return-value]
