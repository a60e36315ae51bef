"""Finished stages -> dvc.lock, many at a time and without parsing it.

DVC parses and writes the whole lock for every stage (8 s of processor time where it holds 570). Here the lines of the
stages are put into the text, as DVC would write them: every other byte stays.
"""

import stat
import time
from pathlib import Path
from typing import Any

from ddpipe.files.artifacts import write_bytes
from ddpipe.pipeline import record

SHARE = 0.02  # of the time since the last batch that writing one may cost
NEW = "schema: '2.0'\nstages:\n"


def lines(stage: Any) -> str:
    """The entry of a finished stage as it stands in dvc.lock."""
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml

    text = dumps_yaml({"schema": "2.0", "stages": to_lockfile(stage)})
    return str(text).removeprefix(NEW)


class Batches:
    """The lock at `path`, and the entries that are still to be written to it.

    Args:
        order: the stages as `dvc repro` would run them: so it would append those that the lock does not name yet.
    """

    def __init__(self, path: Path, order: list[str]):
        self.path, self.place = path, {name: number for number, name in enumerate(order)}
        self.waiting: dict[str, str] = {}
        self.added: set[str] = set()  # by this run, whose commands end in any order
        self.seconds, self.written = 0.0, time.monotonic()

    def add(self, stage: Any) -> None:
        self.waiting[stage.name] = lines(stage)

    def due(self) -> float | None:
        """Seconds until what is waiting may be written; None where nothing waits."""
        return max(0.0, self.written + self.seconds / SHARE - time.monotonic()) if self.waiting else None

    def write(self) -> None:
        """Write what is waiting. DVC must not be at work."""
        if not self.waiting:
            return
        began = time.monotonic()
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else NEW
        head, known, tail = record.split(text.replace("\nstages: {}\n", "\nstages:\n", 1))
        self.added |= self.waiting.keys() - known.keys()
        ordered = [name for name in known if name not in self.added]
        ordered += sorted(self.added, key=self.place.__getitem__)
        new = known | self.waiting
        content = (head + "".join(new[name] for name in ordered) + tail).encode()
        there = stat.S_IMODE(self.path.stat().st_mode) if self.path.exists() else None
        write_bytes(self.path, content, there)  # DVC, which writes into the file, keeps its permissions too
        if record.FILE.exists() and self.path.samefile(record.FILE):
            write_bytes(record.COPY, content)  # it is whole: no stage need look at it before it keeps a copy
        self.waiting.clear()
        self.written = time.monotonic()
        self.seconds = self.written - began
