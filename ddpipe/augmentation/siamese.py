"""DSA's differentiable augmentations (Zhao and Bilen, ICML 2021), each a pure function of images and its raw draws.

Images are (n, c, h, w) in the run's pixel space; zero there, which fills what is empty, is the mean of standardised
data. A raw draw is a tensor of shape (n,), one value an image, or (1,), one value for all of them (Siamese). The values
are what the generator gave, u in [0, 1) or integers; each function says what it makes of them. All functions leave
their input unchanged and are differentiable with respect to the images: scale and rotate as often as torch's
`grid_sample` is, once in torch 2.11, the others any number of times. No method takes a second derivative.

A Siamese value on the CPU is read as a Python number; on an accelerator, which it would wait for, it serves as it is.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.sending import sent, sent_as
from ddpipe.settings.strategy import allowed

BRIGHTNESS = 1.0  # width of the range of the shift
SATURATION = 2.0  # largest factor
CONTRAST = 0.5  # smallest factor
CROP = 0.125  # largest shift, as a share of the side
CUTOUT = 0.5  # side of the square, as a share of the image's
FLIP = 0.5  # probability
SCALE = 1.2  # largest zoom, and the inverse of the smallest
ROTATE = 15.0  # degrees, to either side


class Draw(NamedTuple):
    """One operation and its parameters (k, n) or (k, 1): a row a parameter, one column the same for every image.

    The rows of a policy that always applies more than what it draws are those of all that it applies, in its order.
    """

    operation: str
    parameters: Tensor


def brightness(images: Tensor, u: Tensor) -> Tensor:
    """images + (u - 0.5) * 1.0."""
    return images + (_per_image(u, images) - 0.5) * BRIGHTNESS


def saturation(images: Tensor, u: Tensor) -> Tensor:
    """Each pixel's distance from the mean of its channels, times 2 u. Grey images stay as they are."""
    if images.shape[1] == 1:
        return images
    mean = images.mean(dim=1, keepdim=True)  # n 1 h w
    return torch.lerp(mean, images, SATURATION * _per_image(u, images))


def contrast(images: Tensor, u: Tensor) -> Tensor:
    """The distance from the image's mean, times u + 0.5."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)  # n 1 1 1
    return torch.lerp(mean, images, _per_image(u, images) + CONTRAST)


def color(images: Tensor, u_brightness: Tensor, u_saturation: Tensor, u_contrast: Tensor) -> Tensor:
    """Brightness, then saturation, then contrast."""
    if u_brightness.numel() > 1:
        u_brightness, u_saturation, u_contrast = sent_as(torch.stack([u_brightness, u_saturation, u_contrast]), images)
    return contrast(saturation(brightness(images, u_brightness), u_saturation), u_contrast)


def crop(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Shift by integers in [-s, s], s = floor(side / 8 + 0.5).

    Pixel (r, c) of the result is pixel (r + rows, c + columns) of the image, zero outside. The integers may be of any
    dtype.
    """
    height, width = images.shape[2:]
    rows, columns = rows.long(), columns.long()
    if alone(rows):
        a, b = int(rows), int(columns)
        return F.pad(images, (-b, b, -a, a))  # a negative pad cuts off
    up, left = _crop_reach(height), _crop_reach(width)
    padded = F.pad(images, (left, left, up, up))
    firsts = sent(torch.stack([rows + up, columns + left]), images.device)[:, :, None]  # 2 n 1
    r, c = firsts[0] + torch.arange(height, device=images.device), firsts[1] + torch.arange(width, device=images.device)
    return picked(padded, r, c)


def picked(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Of each image (n, c, ., .) its rows (n, h) and of these its columns (n, w)."""
    index = (rows[:, :, None] * images.shape[3] + columns[:, None, :]).flatten(1)  # n h*w
    index = index[:, None].expand(-1, images.shape[1], -1)  # n c h*w
    return images.flatten(2).gather(2, index).unflatten(2, (rows.shape[1], columns.shape[1]))


def cutout(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Zero a rectangle of sides k = floor(side / 2 + 0.5), cut off at the border.

    It covers k rows from rows - k // 2 and k columns from columns - k // 2; the integers lie in [0, side - k % 2].
    """
    height, width = images.shape[2:]
    k_rows, k_columns = _cutout_side(height), _cutout_side(width)
    if alone(rows):
        top, left = int(rows) - k_rows // 2, int(columns) - k_columns // 2
        keep = images.new_ones(height, width)
        keep[max(top, 0) : top + k_rows, max(left, 0) : left + k_columns] = 0
        return images * keep
    firsts = sent(torch.stack([rows - k_rows // 2, columns - k_columns // 2]), images.device)[:, :, None]  # 2 n 1
    r, c = torch.arange(height, device=images.device) - firsts[0], torch.arange(width, device=images.device) - firsts[1]
    inside = ((r >= 0) & (r < k_rows))[:, :, None] & ((c >= 0) & (c < k_columns))[:, None, :]  # n h w
    return images * ~inside[:, None]


def flip(images: Tensor, u: Tensor) -> Tensor:
    """Mirror left and right where u < 0.5."""
    if alone(u):
        return images.flip(3) if float(u) < FLIP else images
    return torch.where(sent(u < FLIP, images.device).view(-1, 1, 1, 1), images.flip(3), images)


def scale(images: Tensor, u_x: Tensor, u_y: Tensor) -> Tensor:
    """Zoom columns and rows independently by s = 1/1.2 + u (1.2 - 1/1.2); s < 1 enlarges. Bilinear, zeros outside."""
    s_x, s_y = (u * (SCALE - 1 / SCALE) + 1 / SCALE for u in (u_x, u_y))
    return _affine(images, s_x, torch.zeros_like(s_x), torch.zeros_like(s_y), s_y)


def rotate(images: Tensor, u: Tensor) -> Tensor:
    """Turn about the centre by (2 u - 1) * 15 degrees. Bilinear, zeros outside.

    The rotation is one of normalised coordinates, as in the official code: an oblong image is sheared a little.
    """
    angle = (u - 0.5) * (2 * ROTATE * math.pi / 180)
    return _affine(images, angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def alone(u: Tensor) -> bool:
    """Whether it is one value for all images, which can be read as a number without waiting for a device."""
    return u.numel() == 1 and u.device.type == "cpu"


def _per_image(u: Tensor, images: Tensor) -> Tensor | float:
    """`u` so that it broadcasts over images; one value as a number, which costs neither a copy nor a kernel."""
    return u.item() if alone(u) else sent_as(u, images).view(-1, 1, 1, 1)


def _affine(images: Tensor, xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor) -> Tensor:
    """Sample images at (xx x + xy y, yx x + yy y), x and y being normalised coordinates."""
    zero = torch.zeros_like(xx)
    theta = sent_as(torch.stack([xx, xy, zero, yx, yy, zero], dim=1).view(-1, 2, 3), images)  # n 2 3, or 1 2 3
    if len(theta) > 1:
        sampled = images
    elif images.device.type == "cpu":
        # one grid for all images: sample them as the channels of one image, so that its weights are computed once
        sampled = images.reshape(1, -1, *images.shape[2:])
    else:  # an accelerator's threads go through the channels of an image one by one
        sampled, theta = images, theta.expand(len(images), -1, -1)
    grid = F.affine_grid(theta, list(sampled.shape), align_corners=False)  # n h w 2
    moved = F.grid_sample(sampled, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.view(images.shape)


def _crop_reach(side: int) -> int:
    return math.floor(side * CROP + 0.5)


def _cutout_side(side: int) -> int:
    return math.floor(side * CUTOUT + 0.5)


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "color": color,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "scale": scale,
    "rotate": rotate,
}
UNIFORM_DRAWS = {"color": 3, "flip": 1, "scale": 2, "rotate": 1}  # how many u
INTEGER_DRAWS = {"crop": 2, "cutout": 2}  # along height and width


class Policy(Protocol):
    """What the loops ask of an augmentation: a draw, and the images under it."""

    def draw(self, rng: torch.Generator, n: int, height: int, width: int) -> Draw: ...

    def __call__(self, images: Tensor, draw: Draw) -> Tensor: ...


class Augment:
    """A strategy: one of its operations, drawn uniformly, for a whole batch (DSA's published mode).

    `strategy` is "none" or operations joined by "_", such as "color_crop_cutout_flip_scale_rotate". `flip=False` drops
    "flip", for data where a mirrored image is another class. UserError: an unknown operation, or none left.
    """

    def __init__(self, strategy: str, flip: bool = True):
        self.operations = allowed(strategy, flip)

    def draw(self, rng: torch.Generator, n: int, height: int, width: int) -> Draw:
        """One operation and `n` columns of parameters for images of height x width, on the CPU; n = 1: Siamese."""
        if not self.operations:
            return Draw("none", torch.empty(0, n))
        name = choice(self.operations, rng)
        return Draw(name, parameters(name, rng, n, height, width))

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """`images` (n, c, h, w), any device and dtype, under `draw`; differentiable; "none": the same tensor."""
        if draw.operation == "none":
            return images
        return OPERATIONS[draw.operation](images, *draw.parameters)


def choice(names: Sequence[str], rng: torch.Generator) -> str:
    """One of `names`, each with the same probability."""
    return names[int(torch.randint(len(names), (), generator=rng))]


def parameters(name: str, rng: torch.Generator, n: int, height: int, width: int) -> Tensor:
    """(k, n) raw draws of the operation `name` for `n` images of height x width."""
    if name in UNIFORM_DRAWS:
        return torch.rand(UNIFORM_DRAWS[name], n, generator=rng)
    return torch.stack([_integers(name, side, n, rng) for side in (height, width)])


def _integers(name: str, side: int, n: int, rng: torch.Generator) -> Tensor:
    """`n` raw draws of crop or cutout along a side."""
    if name == "crop":
        reach = _crop_reach(side)
        return torch.randint(-reach, reach + 1, (n,), generator=rng)
    return torch.randint(0, side + 1 - _cutout_side(side) % 2, (n,), generator=rng)
