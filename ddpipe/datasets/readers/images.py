"""Encoded images (JPEG, PNG, ...) into pixels, one after the other."""

import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ddpipe.datasets.source import Part, lazy
from ddpipe.errors import UserError
from ddpipe.files.regular import regular
from ddpipe.memory import images_at_once

# What an image may be, whatever its file is called: Pillow knows dozens more, and starts Ghostscript for one of them.
SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP"}
SUFFIXES |= {".tif": "TIFF", ".tiff": "TIFF", ".pgm": "PPM", ".ppm": "PPM"}
FORMATS = tuple(sorted(set(SUFFIXES.values())))


def decode(title: object, file: Path | BytesIO, grey: bool = False, resolution: int | None = None) -> np.ndarray:
    """One image, uint8 (h, w, c), as RGB or grey.

    resolution: side to which the largest centred square is resized (bicubic, with antialiasing).
    title: names the image in errors.
    """
    image = open_image(title, file, grey)
    if resolution is not None:
        image = ImageOps.fit(image, (resolution, resolution), Image.Resampling.BICUBIC)
    return pixels(image)


def squashed(title: object, file: Path | BytesIO, side: int) -> np.ndarray:
    """One image resized as a whole to side x side, box-filtered, uint8 (h, w, c): as in the downsampled ImageNet."""
    return pixels(open_image(title, file).resize((side, side), Image.Resampling.BOX))


def open_image(title: object, file: Path | BytesIO, grey: bool = False) -> Image.Image:
    """The image, decoded. A file that is none of FORMATS, or of more pixels than Pillow's limit, is a UserError."""
    try:
        if isinstance(file, Path):
            regular(file)
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as opened:
                mode, image = opened.mode, opened.convert("L" if grey else "RGB")
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their parsing runs into
        unknown = isinstance(error, UnidentifiedImageError)
        reason = f"its format is none of {', '.join(FORMATS)}" if unknown else error
        raise UserError(f"{title} is not a readable image ({reason}); replace or remove it") from error
    if mode.startswith(("I", "F")):  # Pillow would cut their values off at 255
        raise UserError(f"{title} has more than 8 bits a channel; save it with 8 bits")
    return image


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
