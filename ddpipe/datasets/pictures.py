"""Files of images: what may be one, what its head says, and how it becomes 8 bits a channel; no torch here."""

import contextlib
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ddpipe.errors import UserError
from ddpipe.files.regular import regular

# What an image may be, whatever its file is called: Pillow knows dozens more, and starts Ghostscript for one of them.
SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP"}
SUFFIXES |= {".tif": "TIFF", ".tiff": "TIFF", ".pgm": "PPM", ".ppm": "PPM"}
FORMATS = tuple(sorted(set(SUFFIXES.values())))
ORIENTATION = 0x0112  # EXIF: 1 is upright; 5 to 8 lie on their side
ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


class Look(NamedTuple):
    """What the head of a file says. width, height: as shown, after the rotation that EXIF asks for (`turned`)."""

    width: int
    height: int
    mode: str  # as Pillow calls it
    turned: bool
    transparent: bool  # has an alpha channel or a transparent colour
    bits: int  # a channel

    @property
    def square(self) -> bool:
        return self.width == self.height


@contextlib.contextmanager
def opened(title: object, file: Path | BytesIO) -> Iterator[Image.Image]:
    """The image, decoded when its pixels are asked for inside the block.

    Raises:
        UserError: a file that is none of FORMATS, damaged, or of more pixels than Pillow's limit.
    """
    try:
        if isinstance(file, Path):
            regular(file)
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their parsing runs into
        unknown = isinstance(error, UnidentifiedImageError)
        reason = f"its format is none of {', '.join(FORMATS)}" if unknown else error
        raise UserError(f"{title} is not a readable image ({reason}); replace or remove it") from error


def look(title: object, file: Path | BytesIO) -> Look:
    """What the head of the file says, without its pixels."""
    with opened(title, file) as image:
        # a PNG that says so behind its pixels would be decoded for it; a TIFF is turned by Pillow itself
        asked = image.format not in ("PNG", "TIFF") or "exif" in image.info
        orientation = image.getexif().get(ORIENTATION, 1) if asked else 1
        turned = orientation in range(2, 9)
        width, height = image.size[::-1] if turned and orientation >= 5 else image.size
        return Look(width, height, image.mode, turned, is_transparent(image), bits(image))


def bits(image: Image.Image) -> int:
    """Bits a channel: 8, 16, or 32 that nobody can see at once."""
    if not image.mode.startswith(("I", "F")):
        return 8
    return 16 if image.mode.startswith("I;16") or image.mode == "I" and image.format in ("PNG", "PPM") else 32


def is_transparent(image: Image.Image) -> bool:
    return image.mode in ALPHA or "transparency" in image.info


def shown(title: object, file: Path | BytesIO, grey: bool = False) -> Image.Image:
    """The image as a viewer shows it on white paper, as RGB or grey (L).

    Turned as EXIF says; what is transparent lets white through; of 16 bits a channel the upper 8; of an animation the
    first picture.

    Raises:
        UserError: as `opened`, and for 32 bits a channel.
    """
    with opened(title, file) as image:
        if (depth := bits(image)) == 32:
            raise UserError(f"{title} has 32 bits a channel; save it with 8")
        upright = ImageOps.exif_transpose(image)
        if depth == 16:
            upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
        elif is_transparent(image):
            colours = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
        return upright.convert("L" if grey else "RGB")


def brightest(title: object, file: Path | BytesIO) -> int:
    """The largest value of an image of 16 bits."""
    with opened(title, file) as image:
        return int(np.asarray(image).max())
