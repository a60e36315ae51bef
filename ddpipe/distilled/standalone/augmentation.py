"""Augmentation."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(images: Tensor, how: dict[str, Any]) -> Tensor:
    """DSA, FRePo ("milder"): one operation for a batch. IDC ("composed"): most. DC ("older"): one for each image."""
    names = how["operations"]
    if how["policy"] == "milder":
        return milder(images, names[int(torch.randint(len(names), ()))])
    if how["policy"] == "older":
        return older(images, names)
    if how["policy"] == "composed":
        choices = [name for name in names if name in ("crop", "scale", "rotate")]
        one = [choices[int(torch.randint(len(choices), ()))]] if choices else []
        names = [name for name in ("flip", "color", *one, "cutout") if name in names]
    elif names:
        names = [names[int(torch.randint(len(names), ()))]]
    for name in names:
        images = OPERATIONS[name](images)
    return images


def uniform(count: int, images: Tensor) -> Tensor:
    """`count` numbers in [0, 1) for each image, each of shape (n, 1, 1, 1)."""
    return torch.rand(count, len(images)).to(images.device)[:, :, None, None, None]


def integers(low: int, high: int, n: int) -> list[Tensor]:
    """A row and a column for each of `n` images, from `low` to `high` inclusive."""
    return [torch.randint(low, high + 1, (n,)), torch.randint(low, high + 1, (n,))]


def color(x: Tensor) -> Tensor:
    brightness, saturation, contrast = uniform(3, x)
    x = x + brightness - 0.5
    x = torch.lerp(x.mean(1, keepdim=True), x, 2 * saturation)
    return torch.lerp(x.mean((1, 2, 3), keepdim=True), x, contrast + 0.5)


def crop(x: Tensor) -> Tensor:
    side, reach = x.shape[2], int(x.shape[2] / 8 + 0.5)
    framed = F.pad(x, (reach,) * 4)
    shifts = torch.stack(integers(-reach, reach, len(x))).T.add(reach).tolist()
    return torch.stack([f[:, r : r + side, c : c + side] for f, (r, c) in zip(framed, shifts, strict=True)])


def cutout(x: Tensor) -> Tensor:
    side, k = x.shape[2], int(x.shape[2] / 2 + 0.5)
    inside = []
    for start in integers(0, side - k % 2, len(x)):
        at = torch.arange(side) - (start[:, None] - k // 2)  # n side
        inside.append((at >= 0) & (at < k))
    return x * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :]).to(x.device)


def flip(x: Tensor) -> Tensor:
    return torch.where(uniform(1, x)[0] < 0.5, x.flip(3), x)


def scale(x: Tensor) -> Tensor:
    s_x, s_y = (u.flatten() * (1.2 - 1 / 1.2) + 1 / 1.2 for u in uniform(2, x))
    return affine(x, s_x, 0 * s_x, 0 * s_y, s_y)


def rotate(x: Tensor) -> Tensor:
    angle = (uniform(1, x).flatten() - 0.5) * (2 * 15 * math.pi / 180)
    return affine(x, angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def affine(x: Tensor, xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor) -> Tensor:
    theta = torch.stack([xx, xy, 0 * xx, yx, yy, 0 * xx], 1).view(-1, 2, 3)
    return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)


OPERATIONS = {"color": color, "crop": crop, "cutout": cutout, "flip": flip, "scale": scale, "rotate": rotate}


MILDER = {"flip": 1, "color": 3, "crop": 3, "rotate": 1, "translate": 2, "cutout": 2}  # numbers for each image


def milder(x: Tensor, name: str) -> Tensor:
    """FRePo's operations: what moves repeats the border."""
    u, sides = torch.rand(MILDER[name], len(x)).to(x.device), x.shape[2:]
    if name == "flip":
        return torch.where(u[0].view(-1, 1, 1, 1) < 0.5, x.flip(3), x)
    if name == "color":
        factors = (0.25 * (2 * u - 1)).view(3, -1, 1, 1, 1)
        x = x + factors[0]
        x = torch.lerp(x.mean((1, 2, 3), keepdim=True), x, factors[1].exp())
        return torch.lerp(x.mean(1, keepdim=True), x, factors[2].exp()) if x.shape[1] > 1 else x
    if name == "cutout":
        k = [max(1, int(side / 4 + 0.5)) for side in sides]
        rows, columns = (
            torch.arange(s).to(x.device) - ((own * s).floor() - n // 2)[:, None]
            for own, s, n in zip(u, sides, k, strict=True)
        )
        inside = ((rows >= 0) & (rows < k[0]))[:, None, :, None] & ((columns >= 0) & (columns < k[1]))[:, None, None, :]
        return x * ~inside
    size = 1.25 ** (1 - 2 * u[0]) if name == "crop" else torch.ones_like(u[0])
    angle = (2 * u[0] - 1) * math.pi / 12 if name == "rotate" else torch.zeros_like(u[0])
    left, down = (2 * u[-2:] - 1) / 4 if name != "rotate" else (0 * angle, 0 * angle)
    turn = [size * angle.cos(), -size * angle.sin(), left, size * angle.sin(), size * angle.cos(), down]
    grid = F.affine_grid(torch.stack(turn, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def older(images: Tensor, names: list[str]) -> Tensor:
    """DC's augmentation of MNIST; rotations need scipy."""
    side, batch = images.shape[2], images.cpu()
    which, draws = torch.randint(len(names), (len(batch),)), torch.rand(2, len(batch), dtype=torch.float64)
    mean, changed = batch.mean((0, 2, 3)), []

    def middle(x: Tensor) -> Tensor:
        start = (x.shape[1] - side) // 2
        return x[:, start : start + side, start : start + side]

    for x, number, (a, b) in zip(batch, which.tolist(), draws.T.tolist(), strict=True):
        if names[number] == "crop":
            framed = mean[:, None, None].repeat(1, side + 8, side + 8)
            framed[:, 4:-4, 4:-4] = x
            changed.append(framed[:, int(8 * a) : int(8 * a) + side, int(8 * b) : int(8 * b) + side])
        elif names[number] == "scale":
            h, w = (int((0.8 + u * (1.2 - 0.8)) * side) for u in (a, b))
            canvas = torch.zeros(len(x), max(h, w, side), max(h, w, side))
            top, left = (canvas.shape[1] - h) // 2, (canvas.shape[1] - w) // 2
            canvas[:, top : top + h, left : left + w] = F.interpolate(x[None], (h, w))[0]
            changed.append(middle(canvas))
        else:
            from scipy.ndimage import rotate as turn

            turned = turn(x.numpy(), int(90 * a) - 45, axes=(1, 2), order=3, mode="constant", cval=float(mean.mean()))
            changed.append(middle(torch.from_numpy(turned)))
    return torch.stack(changed).to(images.device)


def cutmix(images: Tensor, targets: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """With `probability` a rectangle of each image comes from another one of the batch, and as much of its target."""
    if not probability or float(torch.rand(())) >= probability:
        return images, targets
    side, share = images.shape[2], float(torch.rand((), dtype=torch.float64))
    half = int(side * math.sqrt(1 - share)) // 2
    r, c = (slice(max(m - half, 0), min(m + half, side)) for m in (int(torch.randint(side, ())) for _ in range(2)))
    partners, mixed = torch.randperm(len(images)).to(images.device), images.clone()
    mixed[:, :, r, c] = images[partners][:, :, r, c]
    pasted = (r.stop - r.start) * (c.stop - c.start) / side**2
    return mixed, torch.lerp(targets, targets[partners], pasted)
