"""One thin command a stage: read params and files, call ddpipe, write files. The only code that knows paths.

What a stage is about is its only argument: a key of params.yaml or a recipe, alone or as DVC addresses the stage
(`dm-digits-1`, `distill@dm-digits-1`). DVC tells its commands this address in DVC_STAGE, so that dvc.yaml need not
write keys into a shell's line, where those of a hostile file would be obeyed.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ddpipe import command
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.files import artifacts
from ddpipe.pipeline import lock, record

held = contextlib.ExitStack()  # the locks of the running command


def run_command(main: Callable[..., Any]) -> None:
    with held:
        command.run(main)


def claim(stage: str, outputs: Sequence[Path], inputs: Sequence[str] = ()) -> None:
    """Hold the stage, and the stages `inputs` whose outputs it reads, until the command ends.

    Called before anything is read or written. What killed writers left beside the outputs and among the checkpoints is
    removed, and a whole dvc.lock is kept where a kill of DVC does not reach it.

    Raises:
        UserError: another process runs the stage, reads `outputs`, or writes what `inputs` write.
    """
    for name in inputs:
        held.enter_context(lock.reading(name))
    held.enter_context(lock.writing(stage))
    folders = {path.parent for path in outputs}
    left = [found for folder in folders for found, path in artifacts.temporaries(folder) if path in outputs]
    for path in (*left, *lock.folder(stage).rglob(".*.tmp")):
        artifacts.delete(path)
    record.keep()


def settled(config: Config, dataset: str | None = None) -> None:
    """No process writes a result (of `dataset`).

    DVC takes down what a report read when it ends: a result that an orphan changed meanwhile would count as read. It is
    enough to look once, as DVC itself starts no evaluation while a report runs.

    Raises:
        UserError: an evaluation is running.
    """
    for stage in ("evaluate", "course"):
        for path in sorted(lock.folder(stage).glob("*/lock")):
            row = config.rows.get(path.parent.name.partition(".")[0])
            if dataset is None or row is not None and row.dataset == dataset:
                with lock.reading(f"{stage}@{path.parent.name}"):
                    pass


def key_of(*stages: str, address: str) -> str:
    """The key in `address`: a key alone, or in DVC's words that of one of `stages`, <file>:<stage>@<key>."""
    before, at, key = address.rpartition("@")
    if at and before.rpartition(":")[2] not in stages:
        raise UserError(f"{address!r} is not for this stage, {' or '.join(stages)}@<key>; give a key of its own")
    return key
