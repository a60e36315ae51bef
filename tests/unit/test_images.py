"""Encoded images that want something else than to be decoded."""

import os
import socket
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpipe.datasets.pictures import FORMATS, SUFFIXES
from ddpipe.datasets.readers.images import decode
from ddpipe.errors import UserError

PIXELS = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
(marker) (w) file closefile
showpage
%%EOF
"""


def encoded(format: str, pixels: np.ndarray = PIXELS) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, format)
    return stream.getvalue()


def others() -> dict[str, bytes]:
    """Images in every format that Pillow writes and, when nobody tells it which, reads again, but for FORMATS."""
    Image.init()
    found = {"EPS": EPS}
    for name in sorted(Image.SAVE.keys() - set(FORMATS)):
        try:
            data = encoded(name)
            with Image.open(BytesIO(data)) as image:
                if image.format not in FORMATS:
                    found[name] = data
        except Exception:  # it does not save RGB, or lacks its library here
            continue
    return found


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_formats_of_the_folder_reader(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"x{suffix}").write_bytes(encoded(SUFFIXES[suffix]))
    assert decode("x", tmp_path / f"x{suffix}").shape == (8, 8, 3)


def test_no_other_format_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*arguments: object, **options: object) -> None:
        raise AssertionError("a program was started")

    found = others()
    assert {"EPS", "PCX", "TGA"} <= found.keys()
    monkeypatch.setattr(subprocess, "Popen", started)
    for name, data in found.items():
        path = tmp_path / "x.png"
        path.write_bytes(data)
        for file in (path, BytesIO(data)):
            with pytest.raises(UserError, match="its format is none of BMP, GIF, .*; replace or remove it") as error:
                decode(path, file)
            assert error.value.__cause__.__class__.__name__ == "UnidentifiedImageError", name


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_an_image_of_too_many_pixels_is_refused_before_they_are_decoded(side: int, tmp_path: Path) -> None:
    header = encoded("PPM").replace(b"8 8", f"{side} {side}".encode(), 1)
    (tmp_path / "x.ppm").write_bytes(header)
    with pytest.raises(UserError, match=r"x\.ppm is not a readable image \(Image size .* exceeds limit"):
        decode(tmp_path / "x.ppm", tmp_path / "x.ppm")


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device"])
def test_only_files_are_opened(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    path = Path("x.png")
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        case "device":
            path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"^x\.png is no file but a folder, pipe, socket or device; remove it"):
        decode(path, path)
