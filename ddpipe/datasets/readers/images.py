"""Encoded images (JPEG, PNG, ...) into pixels, one after the other."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ddpipe.datasets.pictures import bits, opened, shown
from ddpipe.datasets.source import Part, lazy
from ddpipe.errors import UserError
from ddpipe.memory import images_at_once


def decode(title: object, file: Path | BytesIO, grey: bool = False, resolution: int | None = None) -> np.ndarray:
    """One image of the user's as it is shown, uint8 (h, w, c), as RGB or grey.

    resolution: side to which the largest centred square is resized (bicubic, with antialiasing).
    title: names the image in errors.
    """
    image = shown(title, file, grey)
    if resolution is not None:
        image = ImageOps.fit(image, (resolution, resolution), Image.Resampling.BICUBIC)
    return pixels(image)


def published(title: object, file: Path | BytesIO) -> np.ndarray:
    """One image of a published dataset as everybody reads it, uint8 (h, w, 3): the pixels of its file."""
    return pixels(plain(title, file))


def squashed(title: object, file: Path | BytesIO, side: int) -> np.ndarray:
    """One image resized as a whole to side x side, box-filtered, uint8 (h, w, c): as in the downsampled ImageNet."""
    return pixels(plain(title, file).resize((side, side), Image.Resampling.BOX))


def plain(title: object, file: Path | BytesIO) -> Image.Image:
    with opened(title, file) as image:
        if bits(image) > 8:  # Pillow would cut their values off at 255
            raise UserError(f"{title} has more than 8 bits a channel; save it with 8 bits")
        return image.convert("RGB")


def pixels(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array if array.ndim == 3 else array[:, :, None]


def encoded(
    labels: Tensor,
    read: Callable[[int], np.ndarray],
    title: Callable[[int], object],
    where: str,
    mend: str = "save them in one size",
) -> Part:
    """The part whose image number i is `read(i)`, uint8 (h, w, c); nothing but the first one is read before it is due.

    title: names image i in errors. where, mend: the key to blame for images of different sizes, and what to do.
    """
    height, width, channels = shape = read(0).shape

    def checked(row: int) -> np.ndarray:
        array = read(row)
        if array.shape != shape:
            sizes = ((title(row), array.shape), (title(0), shape))
            both = " and ".join(f"{name} is {size[1]}x{size[0]}" for name, size in sizes)
            raise UserError(f"{where}: all images must have one size, but {both} (width x height); {mend}")
        return array

    def stacked(rows: Tensor) -> Tensor:
        arrays = np.stack([checked(row) for row in rows.tolist()])  # (n, h, w, c)
        return torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous()

    some = images_at_once(height * width * channels)
    return lazy(labels, (channels, height, width), lambda rows: (stacked(chunk) for chunk in rows.split(some)))
