"""The kernels of an infinitely wide network, block by block: its recursion over the layers."""

from typing import Literal

import torch
from torch import Tensor

from ddpipe.kernels.grid import Grid, grid, halving
from ddpipe.kernels.layers import Coincidence, Convolve, Pool, Rectify
from ddpipe.networks.initialisation import KERNEL_BIAS
from ddpipe.settings.limit import Limit

Kind = Literal["nngp", "ntk"]


class Recursion:
    """Kernels of `limit` for images (n, c, h, w).

    Args:
        kind: "nngp", or "ntk".
        weight_std, bias_std: of all layers, the weights' divided by the square root of the fan-in.
        width: of the hidden layers, for the tangent kernel in the standard parametrisation, where each layer's part is
            as large as its fan-in; None: the NTK parametrisation.
    """

    def __init__(
        self,
        limit: Limit,
        kind: Kind = "ntk",
        weight_std: float = 2**0.5,
        bias_std: float = KERNEL_BIAS,
        width: int | None = None,
    ):
        self.limit, self.kind, self.width = limit, kind, width
        self.weight, self.bias = weight_std**2, bias_std**2

    def grids(self, images: Tensor, readout: int, layers: int) -> list[Grid]:
        """The pairs of pixels at each of the first `layers` layers, and behind them, where `readout` is the reach."""
        sides, reach = [self.sides(images)], readout
        for number in range(1, layers + 1):
            sides.append(tuple(side // 2 for side in sides[-1]) if number in self.limit.pooled else sides[-1])
        found = []
        for number in range(layers, -1, -1):
            height, width = sides[number]
            found.append(grid(height, width, min(reach, max(height, width) - 1), images.dtype, images.device))
            reach = 2 * reach + 1 if number in self.limit.pooled else reach
        return found[::-1]

    def sides(self, images: Tensor) -> tuple[int, ...]:
        return (1, 1) if self.limit.layer == "dense" else tuple(images.shape[-2:])

    def cone(self, images: Tensor) -> list[Grid]:
        """The pairs of pixels that the kernel is made of, at each layer and at the readout."""
        whole = self.limit.readout == "mean"
        return self.grids(images, max(images.shape[-2:]) if whole else 0, self.limit.depth)

    def entries(self, images: Tensor) -> int:
        """Numbers of the largest covariance of one pair of images."""
        return max(a * b for a, b in (each.size for each in self.cone(images)))

    def variances(self, images: Tensor) -> list[Tensor]:
        """The variance of every pixel in front of each ReLU, (n, h', w') each, differentiable by the images."""
        depth = self.limit.depth
        grids = self.grids(images, 0, depth - 1)
        k, found = self.inputs(images, images, grids[0], paired=True), []
        for number, here in enumerate(grids, 1):
            k = self.affine(k, here)
            found.append(k[:, 0, *here.same])
            if number < depth:
                q = found[-1].unsqueeze(1)
                k = Rectify.apply(k, None, here.first(q), here.second(q), here, "all")
                k = Pool.apply(k, halving(here, grids[number])) if number in self.limit.pooled else k
        return found

    def block(
        self,
        images: Tensor,
        others: Tensor,
        variances: list[Tensor],
        theirs: list[Tensor],
        coincidence: Coincidence = "none",
    ) -> Tensor:
        """(n, m): the kernel of `images` (n, c, h, w) with `others` (m, c, h, w), differentiable by all.

        Args:
            variances, theirs: what `variances` gives for the images, and for the others.
            coincidence: "diagonal" where the others are the same images.
        """
        grids = self.cone(images)
        k = self.inputs(images, others, grids[0])
        t: Tensor | None = None
        for number, (here, q, other) in enumerate(zip(grids, variances, theirs, strict=False), 1):
            k, t = self.linear(k, t, here, self.fan_in(images, number))
            k, t = self.rectified(k, t, here.first(q).unsqueeze(1), here.second(other).unsqueeze(0), here, coincidence)
            if number in self.limit.pooled:
                pooled = halving(here, grids[number])
                k, t = Pool.apply(k, pooled), None if t is None else Pool.apply(t, pooled)
        k, t = k.mean((2, 3)), None if t is None else t.mean((2, 3))
        k, t = self.linear(k, t, None, self.fan_in(images, self.limit.depth + 1))
        return k if t is None else t

    def inputs(self, images: Tensor, others: Tensor, here: Grid, paired: bool = False) -> Tensor:
        """Covariances of the pixels, (n, m, A, B), over the channels; paired: (n, 1, A, B) of image i with other i."""
        channels = images.shape[1]
        if self.limit.layer == "dense":
            x, y = images.flatten(1), others.flatten(1)
            k = (x * y).sum(1, keepdim=True) if paired else x @ y.T
            return k[..., None, None] / x.shape[1]
        x, y = here.first(images), here.second(others)
        x, y = x.unsqueeze(1), y.unsqueeze(1 if paired else 0)
        k = x[:, :, 0] * y[:, :, 0]
        for c in range(1, channels):
            k = torch.addcmul(k, x[:, :, c], y[:, :, c])
        return k / channels

    def affine(self, k: Tensor, here: Grid | None, shift: float | None = None) -> Tensor:
        """Behind a layer's weights and biases; `here` is None at the readout, which is dense."""
        bias = self.bias if shift is None else shift
        if here is None or self.limit.layer == "dense":
            return k * self.weight + bias
        return Convolve.apply(k, here, self.weight, bias)

    def linear(self, k: Tensor, t: Tensor | None, here: Grid | None, fan_in: int) -> tuple[Tensor, Tensor | None]:
        """Both kernels behind a layer's weights and biases; in front of the first layer t is None."""
        new = self.affine(k, here)
        if self.kind == "nngp":
            return new, None
        if self.width is None:
            return new, new if t is None else self.affine(k + t, here)
        own = k * (fan_in / self.weight)  # each weight has a part as large as its input, each bias one of 1
        return new, self.affine(own if t is None else own + t, here, shift=1.0)

    def rectified(
        self, k: Tensor, t: Tensor | None, q: Tensor, other: Tensor, here: Grid, coincidence: Coincidence
    ) -> tuple[Tensor, Tensor | None]:
        found = Rectify.apply(k, t, q, other, here, coincidence)
        return (found, None) if t is None else found

    def fan_in(self, images: Tensor, number: int) -> int:
        """Numbers that enter a unit of layer `number`, counted from 1; the readout is the last."""
        area = 1 if self.limit.layer == "dense" else 9
        if number == 1:
            return images[0].numel() if self.limit.layer == "dense" else area * images.shape[1]
        width = self.width or 1
        if number <= self.limit.depth:
            return area * width
        height, across = self.sides(images)
        halved = len(self.limit.pooled)
        return width * ((height >> halved) * (across >> halved) if self.limit.readout == "flatten" else 1)
