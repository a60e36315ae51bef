"""A generator that is not trained any more: latents and classes to images, as a pure function of its weights.

BigGAN's for small images (Brock et al., ICLR 2019), in evaluation mode: a linear layer to maps of 4x4, residual blocks
each of which doubles the side, a 3x3 convolution and a hyperbolic tangent. What spectral and batch norm do is in the
weights: convolutions are divided by their norms, and a conditional batch norm is a scale and a shift for each class.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.settings.generators import BOTTOM

AT_ONCE = 500  # images that are decoded together: more fill no device, and take memory

Weights = Mapping[str, Tensor]  # by the names of `LAYOUT`
LAYOUT = {  # z noise, C maps, F = 16 C, K classes, c channels
    "linear.weight": "float32 F z",
    "linear.bias": "float32 F",
    "block*.gain*": "float32 K C",
    "block*.shift*": "float32 K C",
    "block*.conv*.weight": "float32 C C 3 3",
    "block*.conv*.bias": "float32 C",
    "block*.skip.weight": "float32 C C 1 1",
    "block*.skip.bias": "float32 C",
    "last.gain": "float32 C",
    "last.shift": "float32 C",
    "last.conv.weight": "float32 c C 3 3",
    "last.conv.bias": "float32 c",
}


def decoded(latents: Tensor, classes: Tensor, weights: Weights, side: int) -> Tensor:
    """Latents (n, z) of the classes (n,): images (n, c, side, side) in [-1, 1], the middle of what is generated."""

    def bent(x: Tensor, where: str, of_class: bool = True) -> Tensor:
        """ReLU of the maps, scaled and shifted as for their classes."""
        gain, shift = (weights[where.format(word)] for word in ("gain", "shift"))
        if of_class:
            gain, shift = gain[classes], shift[classes]
        return (x * gain[..., None, None] + shift[..., None, None]).relu()

    def convolved(x: Tensor, where: str) -> Tensor:
        weight = weights[f"{where}.weight"]
        return F.conv2d(x, weight, weights[f"{where}.bias"], padding=weight.shape[-1] // 2)

    x = F.linear(latents, weights["linear.weight"], weights["linear.bias"]).unflatten(1, (-1, BOTTOM, BOTTOM))
    for number in range(blocks(weights)):
        block = f"block{number}"
        inner = convolved(doubled(bent(x, f"{block}.{{}}1")), f"{block}.conv1")
        inner = convolved(bent(inner, f"{block}.{{}}2"), f"{block}.conv2")
        x = inner + doubled(convolved(x, f"{block}.skip"))  # a 1x1 convolution before it is doubled is the same
    return middle(convolved(bent(x, "last.{}", of_class=False), "last.conv").tanh(), side)


def blocks(weights: Weights) -> int:
    return sum(name.endswith(".skip.bias") for name in weights)


def doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def middle(images: Tensor, side: int) -> Tensor:
    start = (images.shape[-1] - side) // 2
    return images[..., start : start + side, start : start + side]


def in_chunks(latents: Tensor, classes: Tensor, weights: Weights, side: int) -> Tensor:
    """`decoded`, some at a time."""
    parts: Sequence[tuple[Tensor, Tensor]] = list(zip(latents.split(AT_ONCE), classes.split(AT_ONCE), strict=True))
    return torch.cat([decoded(*part, weights, side) for part in parts])


def levels(images: Tensor) -> Tensor:
    """Images in [-1, 1] on the scale 0 to 255, which preprocessing takes to the run's pixel space."""
    return 127.5 * (images + 1)
