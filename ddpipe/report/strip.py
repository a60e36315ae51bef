"""A strip of images that change while they are distilled, as PNG bytes; equal images give equal bytes. No pandas."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpipe.report.pictures import BACKGROUND, GAP, LIMIT, LINE, encode, tiles, written

CLASSES = 10  # rows at most
LETTER = 6  # pixels of a letter's width
NAME = 12  # letters of a class's name at most


def strip(moments: Sequence[NDArray[np.float32]], names: Sequence[str], heads: Sequence[str]) -> bytes:
    """A row a class, a column a moment, of less than 60 kB: first colours are left out, then the last classes.

    Args:
        moments: images (K, c, h, w) in [0, 1] at each of them, of each class the same one.
        names: of the K classes, left of their rows.
        heads: of the moments, above their columns.
    """
    shown = tiles(np.stack(moments, 1)[:CLASSES].astype(np.float32))  # (K, moments, h, w, 3)
    while True:
        picture = _arrange(shown, names, heads)
        for colours in (None, 256, 64):
            if len(found := encode(picture, colours)) < LIMIT or colours == 64 and len(shown) == 1:
                return found
        shown = shown[: (len(shown) + 1) // 2]


def _arrange(shown: NDArray[np.uint8], names: Sequence[str], heads: Sequence[str]) -> Image.Image:
    classes, moments, h, w, _ = shown.shape
    left = LETTER * min(NAME, max(map(len, names[:classes]))) + 2 * GAP
    across = max(w, LETTER * max(map(len, heads))) + GAP
    pixels = np.full((LINE + GAP + classes * (h + GAP), left + moments * across, 3), BACKGROUND, np.uint8)
    for row in range(classes):
        for column in range(moments):
            top, start = LINE + GAP + row * (h + GAP), left + column * across
            pixels[top : top + h, start : start + w] = shown[row, column]
    picture = Image.fromarray(pixels)
    for column, head in enumerate(heads):
        picture.paste(written(head, across - GAP), (left + column * across, GAP // 2))
    for row, name in enumerate(names[:classes]):
        picture.paste(written(name, left - 2 * GAP), (GAP, LINE + GAP + row * (h + GAP) + (h - LINE) // 2))
    return picture
