"""FRePo's augmentation (Zhou et al., NeurIPS 2022): one operation for a batch, each image with numbers of its own.

As in DSA, with smaller changes and other borders: what moves is sampled bilinearly, and the border is repeated. A draw
holds numbers u in [0, 1); each function says what it makes of them. How far crop shifts, and in what order and about
which mean colours change, is unverified.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.augmentation.siamese import Draw, choice, flip
from ddpipe.sending import sent_as
from ddpipe.settings.strategy import allowed

BRIGHTNESS = 0.25  # largest shift
COLOR = 0.25  # largest logarithm of the factors of contrast and saturation
ZOOM = 1.25  # largest factor of crop, and the inverse of the smallest
SHIFT = 1 / 8  # largest, as a share of the side
ROTATE = 15.0  # degrees, to either side
CUTOUT = 1 / 4  # side of the square, as a share of the image's


def about(u: Tensor, reach: float) -> Tensor:
    """u in [0, 1) -> [-reach, reach)."""
    return (2 * u - 1) * reach


def color(images: Tensor, u_brightness: Tensor, u_contrast: Tensor, u_saturation: Tensor) -> Tensor:
    """A shift; then the distance from the image's mean, and that from the mean of a pixel's channels, times factors."""
    shift = about(u_brightness, BRIGHTNESS).view(-1, 1, 1, 1)
    factors = [about(u, COLOR).exp().view(-1, 1, 1, 1) for u in (u_contrast, u_saturation)]
    images = images + shift
    images = torch.lerp(images.mean((1, 2, 3), keepdim=True), images, factors[0])
    return torch.lerp(images.mean(1, keepdim=True), images, factors[1]) if images.shape[1] > 1 else images


def crop(images: Tensor, u_zoom: Tensor, u_x: Tensor, u_y: Tensor) -> Tensor:
    """Zoomed by 1.25^(2 u - 1), and shifted."""
    return sampled(images, ZOOM ** (1 - 2 * u_zoom), torch.zeros_like(u_zoom), u_x, u_y)


def rotate(images: Tensor, u: Tensor) -> Tensor:
    middle = torch.full_like(u, 0.5)
    return sampled(images, torch.ones_like(u), about(u, ROTATE * math.pi / 180), middle, middle)


def translate(images: Tensor, u_x: Tensor, u_y: Tensor) -> Tensor:
    return sampled(images, torch.ones_like(u_x), torch.zeros_like(u_x), u_x, u_y)


def sampled(images: Tensor, size: Tensor, angle: Tensor, u_x: Tensor, u_y: Tensor) -> Tensor:
    """Each image where a window of so much of its sides, turned and shifted by up to 1/8 of them, lies in it."""
    x, y = (about(u, 2 * SHIFT) for u in (u_x, u_y))  # in normalised coordinates, of which a side has two
    cos, sin = size * angle.cos(), size * angle.sin()
    theta = torch.stack([cos, -sin, x, sin, cos, y], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def cutout(images: Tensor, u_row: Tensor, u_column: Tensor) -> Tensor:
    """A square of a quarter of the side about any pixel, cut off at the border, becomes zero."""
    inside = []
    for u, side in zip((u_row, u_column), images.shape[2:], strict=True):
        k = max(1, int(side * CUTOUT + 0.5))
        at = torch.arange(side, device=images.device) - ((u * side).floor() - k // 2)[:, None]  # n side
        inside.append((at >= 0) & (at < k))
    return images * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "flip": flip,
    "color": color,
    "crop": crop,
    "rotate": rotate,
    "translate": translate,
    "cutout": cutout,
}
DRAWS = {"flip": 1, "color": 3, "crop": 3, "rotate": 1, "translate": 2, "cutout": 2}  # how many u


class MilderAugment:
    """`strategy` is "frepo:" and operations joined by "_"; `flip=False` drops "flip". UserError: nothing is left of it.

    Same interface as `siamese.Augment`, and as differentiable.
    """

    def __init__(self, strategy: str, flip: bool = True):
        self.operations = allowed(strategy, flip)

    def draw(self, rng: torch.Generator, n: int, height: int, width: int) -> Draw:
        """One operation and `n` columns of parameters, on the CPU; n = 1: Siamese."""
        name = choice(self.operations, rng)
        return Draw(name, torch.rand(DRAWS[name], n, generator=rng))

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """`images` (n, c, h, w), any device and dtype, under `draw`."""
        rows = sent_as(draw.parameters, images).expand(-1, len(images))
        return OPERATIONS[draw.operation](images, *rows)
