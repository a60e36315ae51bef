"""Rotation by cubic splines, many images at once, on any device: what scipy.ndimage.rotate gives for each of them.

A spline of degree 3 goes through the pixels: its coefficients are those whose B-spline passes through them, continued
beyond the border by reflection. Every pixel of the turned image is the spline's value where it came from; where that
lies outside the image it is a constant. Computed in float64, as scipy does.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.sending import sent

LARGEST = 64**2  # pixels of images whose plans are kept: 27 MB of float64
NUMBERS = 2**16  # of images that are turned at once on a CPU: what its caches hold


@lru_cache(maxsize=8)
def interpolation(n: int, device: torch.device) -> Tensor:
    """(n, n) matrix from n >= 2 values to the coefficients of the cubic spline through them, reflected at both ends."""
    system = torch.eye(n, dtype=torch.float64) * 4 / 6
    inner = torch.arange(n - 1)
    system[inner, inner + 1] = system[inner + 1, inner] = 1 / 6
    system[0, 1] = system[-1, -2] = 2 / 6
    return torch.linalg.inv(system).to(device)


def weights(t: Tensor) -> list[Tensor]:
    """Of the four coefficients about a place that lies t, in [0, 1), behind the second of them; shapes as t's."""
    s = 1 - t
    first, second, third = s * s * s / 6, (t * t * (t - 2) * 3 + 4) / 6, (s * s * (s - 2) * 3 + 4) / 6
    return [first, second, third, 1 - first - second - third]


def sources(degrees: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where the pixels come from: rows, columns (n, h, w), for the centre of a canvas that holds the turned image."""
    radians = degrees.double().deg2rad()[:, None, None]
    c, s = radians.cos(), radians.sin()
    tall = (c.abs() * height + s.abs() * width + 0.5).floor()
    wide = (s.abs() * height + c.abs() * width + 0.5).floor()
    up = (height - 1) / 2 - (c * (tall - 1) / 2 + s * (wide - 1) / 2)
    left = (width - 1) / 2 - (c * (wide - 1) / 2 - s * (tall - 1) / 2)
    i = ((tall - height) / 2).floor() + torch.arange(height, dtype=torch.float64)[:, None]  # n h 1
    j = ((wide - width) / 2).floor() + torch.arange(width, dtype=torch.float64)  # n 1 w
    return up + c * i + s * j, left - s * i + c * j


def plan(degrees: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """For angles (n,): the first of each pixel's coefficients (n, h*w), framed as `rotate` frames them, and its weights
    (n, 9, h*w): four along rows, four along columns, and one of what lies outside."""
    y, x = sources(degrees, height, width)
    inside = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)
    row, column = y.clamp(0, height - 1).floor(), x.clamp(0, width - 1).floor()
    parts = [*(inside * part for part in weights(y - row)), *weights(x - column), (~inside).double()]
    return (row * (width + 3) + column).long().flatten(1), torch.stack(parts, 1).flatten(2)


@lru_cache(maxsize=4)
def every_plan(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The plans of all whole degrees from -45 to 44."""
    places, parts = plan(torch.arange(-45, 45), height, width)
    return places.to(device), parts.to(device)


def planned(degrees: Tensor, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """`plan` on the device; those of small images are kept."""
    if height * width > LARGEST:
        return tuple(sent(part, device) for part in plan(degrees, height, width))  # type: ignore[return-value]
    rows = sent(degrees.long() + 45, device)
    places, parts = every_plan(height, width, device)
    return places[rows], parts[rows]


def rotate(images: Tensor, degrees: Tensor, fill: Tensor) -> Tensor:
    """`images` (n, c, h, w), h and w at least 3, each turned by its own angle on a canvas that holds it, cut to h x w.

    Args:
        degrees: (n,) whole numbers in [-45, 45), on the host.
        fill: () outside.
    """
    chunk = max(1, NUMBERS // images[0].numel())
    if len(images) > chunk and images.device.type == "cpu":
        pairs = zip(images.split(chunk), degrees.split(chunk), strict=True)
        return torch.cat([rotate(part, own, fill) for part, own in pairs])
    height, width = images.shape[2:]
    places, parts = planned(degrees, height, width, images.device)
    left, above = interpolation(width, images.device), interpolation(height, images.device)
    coefficients = F.pad(above @ images.double() @ left.T, (1, 2, 1, 2), mode="reflect").flatten(2)  # n c .
    last = coefficients.shape[2] - 3 * (width + 4)  # places that a first coefficient may have
    place = places[:, None].expand(-1, images.shape[1], -1)  # n c h*w
    *weight, outside = parts[:, :, None].unbind(1)  # n 1 h*w each
    turned = outside * fill.double()
    for i in range(4):
        line = torch.zeros_like(place, dtype=torch.float64)
        for j in range(4):
            taken = coefficients.narrow(2, i * (width + 3) + j, last).gather(2, place)
            line.addcmul_(taken, weight[4 + j])
        turned = torch.addcmul(turned, line, weight[i])
    return turned.to(images.dtype).view(images.shape)
