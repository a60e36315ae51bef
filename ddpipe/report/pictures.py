"""The picture of a set as PNG bytes; equal sets give equal bytes. No pandas here: the evaluate stage draws it."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.pipeline import results

LIMIT = 60_000  # bytes of a picture: it lies in git, one a cell
SHOWN = 10  # images of a class at most
SMALLEST, LARGEST = 40, 64  # pixels of a tile's side: enlarged or shrunk by a whole factor
GAP = 2
BACKGROUND = 224
LINE = 12  # pixels of a line of text


def image_grid(images: Any, columns: int, names: Sequence[str] = ()) -> bytes:
    """A picture of a set, as PNG of less than 60 kB: a class per row, its first images (at most ten) side by side.

    With few images a class, several classes share a row: one image each gives rows of ten classes. What does not fit
    into the bytes is left out: first colours (256, then 64), then images of each class, then the last classes.

    Args:
        images: (V, c, h, w) class by class, in [0, 1] (clamped); an array or a tensor on the CPU.
        columns: images of a class, V / number of classes.
        names: of the classes; each stands above its first image, cut to the width of its images, unless all of them
            are the numbers 0, 1, ... that they have anyway.
    """
    pixels = np.asarray(images, dtype=np.float32)
    if pixels.ndim != 4 or columns < 1 or not len(pixels) or len(pixels) % columns:
        raise UserError(
            f"cannot draw images of shape {pixels.shape} with {columns} a class; give (V, c, h, w), V = K x"
        )
    pixels = pixels.reshape(-1, columns, *pixels.shape[1:])[:, :SHOWN]  # (K, n, c, h, w)
    told = [] if list(names) == [str(number) for number in range(len(names))] else list(names)
    classes, counts = len(pixels), range(min(columns, SHOWN), 0, -1)
    while True:
        for count in counts:
            if classes * count * min(pixels[0, 0, 0].size, LARGEST**2) > 4 * LIMIT and classes > 1:
                continue  # two bits a pixel would be too much
            picture = _arrange(tiles(pixels[:classes, :count]), told)
            for colours in (None, 256, 64):
                encoded = encode(picture, colours)
                if len(encoded) < LIMIT:
                    return encoded
        classes, counts = (classes + 1) // 2, range(1, 0, -1)


def stored(config: Config, cell: str) -> bytes | None:
    """The picture that the stage `evaluate` left of a cell; None without one.

    Raises:
        UserError: it is no such picture. It goes into pages that are shown to others.
    """
    data = results.beside(config, cell, "png")
    if data is None:
        return None
    try:
        if len(data) >= LIMIT:
            raise ValueError(f"it has {len(data)} bytes, more than any picture of a set")
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.verify()  # its checksums; nothing is decoded
    except Exception as error:  # Pillow's decoders raise whatever their parsing runs into
        path = config.results / config.row(cell).dataset / f"{cell}.png"
        told = f"{path} is damaged or no PNG ({error}); delete it and run `dvc repro evaluate@{cell}`"
        raise UserError(told) from error
    return data


def tiles(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(K, n, c, h, w) in [0, 1] -> (K, n, h', w', 3) in 0..255; other than three channels become one grey."""
    if images.shape[2] != 3:
        images = np.repeat(images.mean(axis=2, keepdims=True), 3, axis=2)
    *outer, h, w = images.shape
    shrink = -(-max(h, w) // LARGEST)
    if shrink > 1:
        down, across = min(shrink, h), min(shrink, w)
        h, w = h // down, w // across
        cut = images[..., : h * down, : w * across]
        images = cut.reshape(*outer, h, down, w, across).mean(axis=(-3, -1))
    values = (np.nan_to_num(images).clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 1, 3, 4, 2)
    enlarge = max(1, round(SMALLEST / max(h, w)))
    return values.repeat(enlarge, axis=2).repeat(enlarge, axis=3)


def _arrange(shown: NDArray[np.uint8], names: list[str]) -> Image.Image:
    """(K, n, h, w, 3) -> one picture, as many whole classes a row as ten tiles allow, names above them."""
    classes, count, h, w, _ = shown.shape
    across = min(max(1, SHOWN // count), classes) * count
    flat, line = shown.reshape(classes * count, h, w, 3), LINE if names else 0
    rows = -(-len(flat) // across)
    pixels = np.full((rows * (line + h + GAP) + GAP, across * (w + GAP) + GAP, 3), BACKGROUND, np.uint8)
    corners = [(line + GAP + i // across * (line + h + GAP), GAP + i % across * (w + GAP)) for i in range(len(flat))]
    for tile, (top, left) in zip(flat, corners, strict=True):
        pixels[top : top + h, left : left + w] = tile
    picture = Image.fromarray(pixels)
    for name, (top, left) in zip(names, corners[::count], strict=False):
        picture.paste(written(name, count * (w + GAP) - GAP), (left, top - line))
    return picture


def written(name: str, width: int) -> Image.Image:
    """The name on a strip of this width, in letters that every Pillow has; others are shown as ?."""
    strip, font = Image.new("RGB", (width, LINE), (BACKGROUND,) * 3), ImageFont.load_default_imagefont()
    plain = name.encode("latin-1", "replace").decode("latin-1")
    ImageDraw.Draw(strip).text((0, 0), plain, fill=(0, 0, 0), font=font)
    return strip


def encode(picture: Image.Image, colours: int | None) -> bytes:
    if colours is not None:
        picture = picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
