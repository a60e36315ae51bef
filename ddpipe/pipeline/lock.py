"""Who works on what: a stage's key (`distill@dm-digits-1`) has one writer and no reader beside it, or many readers.

The kernel holds the locks, so that a killed process holds none. DVC's own do not do: of a `dvc` that was killed they
know nothing any more, while the stage that it had started may still run.
"""

import contextlib
import fcntl
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ddpipe.errors import UserError
from ddpipe.files.artifacts import unwritable
from ddpipe.progress import say

CHECKPOINTS = Path("data/checkpoints")
STAGE = re.compile(r"[a-z]+(@\w[^/\0]*)?")  # a folder below that of all, whatever the key was meant to be


class Held(Exception):
    """Another process has the lock."""


def folder(name: str) -> Path:
    """Where the stage `name` keeps its lock and its unfinished work; UserError where that is no place of a stage's."""
    if not STAGE.fullmatch(name):
        raise UserError(f"{name!r} is no stage, as its key is part of a path; give a key of params.yaml or a recipe")
    return CHECKPOINTS / name.replace("@", "/", 1)


@contextlib.contextmanager
def flocked(path: Path, kind: int) -> Iterator[IO[str]]:
    """Hold the file `path`, made if need be, for `kind` (fcntl.LOCK_EX or LOCK_SH).

    Raises:
        Held: another process holds it; nothing waits.
    """
    while True:
        with open(path, "a+") as file:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Held from error
            except OSError as error:  # some network file systems; working alone there is the user's care
                say(f"note: {path} cannot be locked ({error.strerror}); never run the same stage twice at once here")
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                yield file
                return
        # the last holder removed or renamed the file after it was opened here: what is held has no name any more
        path.parent.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def writing(name: str) -> Iterator[None]:
    """Nobody else runs the stage `name` or reads what it writes; UserError where somebody does."""
    path = folder(name) / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        try:
            file = held.enter_context(flocked(path, fcntl.LOCK_EX))
        except Held as error:
            with reading(name):  # it has a writer, or
                raise UserError(
                    f"{name}: other processes are reading what it writes; wait for them or stop them "
                    "(`pgrep -af stages` lists them)"
                ) from error
        try:
            file.truncate(0)
            os.write(file.fileno(), f"{os.getpid()} {platform.node()}".encode())  # closing has nothing left to write
        except OSError as error:
            raise unwritable(path, error) from error
        yield


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Nobody writes the output of the stage `name`; UserError where somebody does."""
    path = folder(name) / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(flocked(path, fcntl.LOCK_SH))
        except Held as error:
            pid, _, host = path.read_text().partition(" ")
            where = "" if host == platform.node() else f" on {host}"
            raise UserError(
                f"{name}: another process is running this stage; wait for it or stop it (`kill {pid}`{where})"
            ) from error
        yield
