"""dvc.lock, DVC's record of what ran: whether it is whole, a copy to mend it from, and how entries leave it.

DVC rewrites the file in place after every stage, so that a kill in this moment leaves it empty or cut.
"""

import contextlib
import fcntl
import json
import re
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ddpipe.errors import UserError
from ddpipe.files.artifacts import rewrite, write_bytes
from ddpipe.pipeline import lock
from ddpipe.progress import say

FILE, COPY = Path("dvc.lock"), lock.CHECKPOINTS / "dvc.lock"
ENTRY = re.compile(r"^(?:  (['\"]?)(?P<name>[^\s'\"]+)\1:[ \t]*|[^ \n].*)$", re.MULTILINE)  # or the end of all entries
HEADS = re.compile(r"(schema|stages|datasets):( .*)?|#.*|")


@contextlib.contextmanager
def undisturbed(root: Path) -> Iterator[None]:
    """No DVC is at work, except that its stages may run; lock.Held where one is. It writes its files in this state."""
    path = root / ".dvc/tmp/lock"
    with lock.flocked(path, fcntl.LOCK_SH) if path.exists() else contextlib.nullcontext():
        yield


def outline(content: bytes) -> str | None:
    """What is wrong with a dvc.lock, as its outline tells at once; None if nothing."""
    text = content.decode(errors="replace")
    heads = [line for line in text.splitlines() if not line.startswith(" ")]
    if not text.strip("\0\r\n "):
        return "is empty (DVC was killed while it wrote it)"
    if any(line.startswith(("<<<<<<<", ">>>>>>>")) for line in heads):
        return "holds both sides of a merge"
    if not all(HEADS.fullmatch(line) for line in heads):
        return "is not what DVC writes"
    if not text.endswith("\n") or text.rstrip().endswith(":") or not any(line.startswith("stages:") for line in heads):
        return "is cut short (DVC was killed while it wrote it)"
    return None


@lru_cache(maxsize=2)
def fault(content: bytes) -> str | None:
    """What is wrong with a dvc.lock, as its outline or else a parser tells (0.2 s for 100 stages); None if nothing."""
    if reason := outline(content):
        return reason
    try:
        value = YAML(typ="safe").load(content.decode(errors="replace"))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return f"is damaged near line {mark.line + 1}" if mark else "is damaged"
    except (ValueError, RecursionError):
        return "is damaged"
    stages = value.get("stages")
    if value.get("schema") != "2.0" or not isinstance(stages, dict):
        return "is not what DVC writes"
    damaged = [str(name) for name, entry in stages.items() if not readable(entry)]
    return f"is damaged in what it says of {', '.join(damaged)}" if damaged else None


def readable(entry: Any) -> bool:
    """Whether DVC can make sense of what stands under the name of a stage."""
    if not isinstance(entry, dict) or not isinstance(entry.get("cmd"), str | list):
        return False
    files = [entry.get(key, []) for key in ("deps", "outs")]
    params = entry.get("params", {})
    return (
        entry.keys() <= {"cmd", "deps", "params", "outs"}
        and all(isinstance(group, list) for group in files)
        and all(isinstance(file, dict) and isinstance(file.get("path"), str) for group in files for file in group)
        and isinstance(params, dict)
        and all(isinstance(numbers, dict) for numbers in params.values())
    )


def mend(root: Path) -> str:
    """Ways to a whole dvc.lock that are known to work in the project at `root`."""
    ways = []
    with contextlib.suppress(OSError):
        if fault((root / COPY).read_bytes()) is None:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime((root / COPY).stat().st_mtime))
            ways.append(f"`cp {COPY} {FILE}` puts back the copy of {when}")
    with contextlib.suppress(OSError):
        shown = subprocess.run(["git", "show", f"HEAD:./{FILE}"], cwd=root, capture_output=True)
        if shown.returncode == 0 and fault(shown.stdout) is None:
            ways.append(f"`git checkout HEAD -- {FILE}` puts back the committed one")
    if not ways:
        return f"delete it (`rm {FILE}`): DVC fetches from its cache what it finds there and runs the rest again"
    return ", ".join(ways) + "; `dvc repro` then runs again what it does not name"


def trouble(root: Path, look: Callable[[bytes], str | None] = fault) -> str | None:
    """The sentence about the first of DVC's files that a kill has left unreadable; None if all can be read.

    Args:
        look: says what is wrong with dvc.lock: `fault`, or `outline` for what costs nothing.
    """
    path, running = root / FILE, root / ".dvc/tmp/rwlock"
    with contextlib.suppress(lock.Held, OSError), undisturbed(root):
        if running.exists():
            try:
                json.loads(running.read_bytes())
            except ValueError:
                return ".dvc/tmp/rwlock is damaged (DVC was killed while it wrote it); delete it"
        if reason := look(path.read_bytes()):
            return f"{FILE} {reason}; {mend(root)}"
    return None


def keep() -> None:
    """Copy a whole dvc.lock to where no DVC writes; a damaged one is named, for a stage can do without."""
    with contextlib.suppress(lock.Held, OSError), undisturbed(Path()):
        content = FILE.read_bytes()
        if COPY.exists() and COPY.read_bytes() == content:
            return
        if reason := fault(content):
            say(f"note: {FILE} {reason}; {mend(Path())}")
        else:
            write_bytes(COPY, content)


def split(text: str) -> tuple[str, dict[str, str], str]:
    """What stands in a dvc.lock before the stages, each stage with its lines, and what stands behind them."""
    before, marker, body = text.partition("\nstages:\n")
    starts: list[tuple[str, int]] = []
    end = len(body)
    for found in ENTRY.finditer(body):
        if not found["name"]:
            end = found.start()
            break
        starts.append((found["name"], found.start()))
    first = starts[0][1] if starts else end
    ends = [start for _, start in starts[1:]] + [end]
    entries = {name: body[start:stop] for (name, start), stop in zip(starts, ends, strict=bool(starts))}
    return before + marker + body[:first], entries, body[end:]


def entries(text: str) -> dict[str, str]:
    """The stages that a dvc.lock names, each with its lines."""
    return split(text)[1]


def forget(root: Path, names: Collection[str]) -> None:
    """Take the stages `names` out of dvc.lock; every other line stays, with LF as DVC ends them.

    Raises:
        UserError: DVC is at work, or the file is read-only.
    """
    path = root / FILE
    if not names:
        return
    try:
        with undisturbed(root):
            text = path.read_text(encoding="utf-8")
            blocks = entries(text)
            for name in names:
                text = text.replace(blocks[name], "", 1)
            if not blocks.keys() - names:
                text = text.replace("\nstages:\n", "\nstages: {}\n", 1)
            rewrite(path, text.encode())
    except lock.Held as error:
        raise UserError(f"{FILE}: DVC is at work; wait for it, then run the same command again") from error
