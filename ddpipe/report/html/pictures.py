"""The pictures of sets on the page: with few colours, each stored once however often it is shown, and not too many."""

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

import pandas as pd
from PIL import Image, ImageChops

from ddpipe.config import Config
from ddpipe.report.frame import ipc_order
from ddpipe.report.html.markup import anchor
from ddpipe.report.pictures import stored

MOST = 950_000  # bytes of all pictures of sets: a third more in the file
COLOURS, GREYS = 64, 32


@dataclass(frozen=True)
class Picture:
    """What `definitions` stores and `shown` shows, by its id."""

    id: str
    png: bytes
    width: int  # pixels
    height: int


def light(png: bytes) -> bytes:
    """The same picture with at most 64 colours, 32 if it is grey."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        full = image.convert("RGB")
    red, green, blue = full.split()
    grey = all(ImageChops.difference(red, other).getbbox() is None for other in (green, blue))
    few = full.quantize(GREYS if grey else COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def chosen(config: Config, frames: Mapping[str, pd.DataFrame], first: Iterable[str]) -> dict[str, Picture | None]:
    """The pictures by their cell, None for those that the page has no room for; cells without one are left out.

    Those of the cells in `first` come before the others; of these a data set is served after the other, the smallest
    IPC first, so that no data set takes the room of the next.

    Raises:
        UserError: what lies beside a result is no picture of a set.
    """
    queues = []
    for frame in frames.values():
        own = frame[frame["main"] & frame["mean"].notna()]
        queues.append(list(own.sort_values("ipc", key=lambda ipc: ipc.map(ipc_order), kind="stable")["cell"]))
    served = [queue[i] for i in range(max(map(len, queues), default=0)) for queue in queues if i < len(queue)]
    found: dict[str, Picture | None] = {}
    room = MOST
    for cell in dict.fromkeys([*first, *served]):
        if (whole := stored(config, cell)) is None:
            continue
        picture = made(anchor("set", cell), whole) if room > 0 else None  # what nobody sees need not be made
        room -= len(picture.png) if picture else 0
        found[cell] = picture if room >= 0 else None
    return found


def made(id_: str, png: bytes) -> Picture:
    """The picture of this PNG, lightened."""
    small = light(png)
    with Image.open(io.BytesIO(small)) as image:
        return Picture(id_, small, *image.size)


def definitions(pictures: Iterable[Picture | None]) -> str:
    """What `shown` refers to; it takes no place itself."""
    symbols = [
        f'<symbol id="{picture.id}" viewBox="0 0 {picture.width} {picture.height}"><image width="{picture.width}" '
        f'height="{picture.height}" href="data:image/png;base64,{base64.b64encode(picture.png).decode()}"/></symbol>'
        for picture in pictures
        if picture
    ]
    return f"<svg class=store aria-hidden=true>{''.join(symbols)}</svg>" if symbols else ""


def shown(picture: Picture, text: str, caption: str) -> str:
    """A figure; `text` is for those who cannot see it, `caption` is HTML."""
    size = f'viewBox="0 0 {picture.width} {picture.height}"'
    image = f'<svg class=set {size} role="img" aria-label="{escape(text)}"><use href="#{picture.id}"/></svg>'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
