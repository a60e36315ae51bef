"""Official files: fetched whole or not at all, and used only when their MD5 is the official one."""

import contextlib
import fcntl
import hashlib
import http.client
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ddpipe.errors import UserError
from ddpipe.pipeline import lock


def fetch(name: str, path: Path, md5: str, urls: Sequence[str], wanted: str) -> None:
    """Download `path` from the first of `urls` that has it with this MD5.

    wanted: all the files that the dataset `name` needs, for the UserError when none of them can be reached.
    """
    from torchvision.datasets import utils  # slow to import, and needed only here

    reason = ""
    part = path.with_name(f"{path.name}.part")  # locked while it grows: datasets of one source share their folder
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(lock.flocked(part, fcntl.LOCK_EX))
        except lock.Held as error:
            raise UserError(f"datasets.{name}: another process is downloading {path}; wait for it") from error
        for url in urls:
            try:
                utils.download_url(url, str(path.parent), part.name, md5)
                os.replace(part, path)
                return
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                reason = " ".join(str(error).split())
                part.write_bytes(b"")
        part.unlink(missing_ok=True)
    raise UserError(
        f"datasets.{name}: {path} is missing and cannot be downloaded ({reason}); put {wanted} into {path.parent}"
    )


def md5_of(stream: BinaryIO) -> str:
    """MD5 of everything from here on; the stream is rewound."""
    digest = hashlib.md5(usedforsecurity=False)
    while block := stream.read(2**20):
        digest.update(block)
    stream.seek(0)
    return digest.hexdigest()


def verify(path: Path | str, stream: BinaryIO, expected: str) -> None:
    """Refuse the open file unless its MD5 is the expected one; it is rewound. `path` names it in the error."""
    found = md5_of(stream)
    if found != expected:
        raise UserError(
            f"{path} is damaged or another file: its MD5 is {found}, not {expected}; delete it and run the stage "
            "again, or replace it by the official one"
        )
