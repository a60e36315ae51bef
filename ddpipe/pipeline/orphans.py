"""What belongs to no row, dataset, buffer or report any more: listed by `ddpipe clean`, removed on demand only.

Only what looks as a stage's output does is ever looked at, and of files beside results and costs only what ddpipe's
readers know as its own; data/raw and the user's own files are not. Links are never followed. What a killed writer left
is an orphan too, once nobody holds its stage.
"""

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.files.artifacts import delete, read_json, temporaries
from ddpipe.pipeline import costs, courses, descriptions, lock, record
from ddpipe.pipeline.descriptions import Costs, Result
from ddpipe.settings import Settings
from ddpipe.settings.names import TRAINED, WRITERS

MARKS = {  # in every such folder
    **{"prepared": "data.json", "overview": "overview.txt", "distilled": "distilled.json"},
    **{stage: f"{stage}.json" for stage in TRAINED},
}
COURSE = (".course", ".space")  # behind the cell in the names of what this stage writes
RESUMED = (
    "prepare",
    *TRAINED,
    "distill",
    "evaluate",
    "course",
    "report",
)  # with a folder of checkpoints, or of locks alone


@dataclass(frozen=True)
class Orphan:
    """A path below the project, or an entry of dvc.lock (`path` is None), and the stage that wrote it."""

    owner: str
    path: Path | None = None

    @property
    def size(self) -> int:
        """Bytes of the files, as they are listed: hard links count each time."""
        if self.path is None:
            return 0
        below = (Path(folder, name) for folder, _, names in os.walk(self.path) for name in names)
        return sum(path.lstat().st_size for path in (self.path, *below) if not path.is_dir() or path.is_symlink())


def orphans(config: Config) -> list[Orphan]:
    """Files first, then the entries of dvc.lock that speak of them."""
    path = config.root / record.FILE
    named = record.entries(path.read_bytes().decode()) if path.exists() else {}
    moved = {f"prepare@{key}" for key in config.params.own}  # DVC knows these as own@<key>
    entries = [Orphan(name) for name in named if not alive(config, name) or name in moved]
    return [*files(config), *entries]


def alive(config: Config, owner: str) -> bool:
    """Whether the stage `owner` is one that the settings still ask for; stages that ddpipe does not know always are."""
    stage, _, key = owner.partition("@")
    params = config.params
    tables: dict[str, Collection[str]] = {
        "prepare": params.datasets,
        "own": params.own,
        **{stage: getattr(params, stage) for stage in TRAINED},
        "distill": config.rows,
        "further": config.evaluations,
        "course": config.courses,
        "report": params.reports,
    }
    if stage == "evaluate":
        cell, _, evaluation = key.partition(".")  # <cell>.<network>.<protocol>, or all of a cell's
        network, _, protocol = evaluation.partition(".")
        return cell in config.rows and (not evaluation or network in params.networks and protocol in params.protocols)
    return stage not in tables or key in tables[stage]


def files(config: Config) -> Iterator[Orphan]:
    for folder in folders(config.root):
        begun = dict(temporaries(folder))
        for path in sorted(folder.iterdir()):
            owner = owner_of(config, begun.get(path, path))
            if owner is None:
                continue
            found = Orphan(owner, path)
            left = path in begun and free(config, found)
            if left or (not alive(config, owner) or misplaced(config, path, owner)) and written(config, path):
                yield found


def folders(root: Path) -> Iterator[Path]:
    """Where stages put things, unless a link leads out of the project."""
    data = root / "data"
    known = [data / name for name in (*MARKS, "costs", "metrics")]
    for parent in (data / "results", root / lock.CHECKPOINTS):
        known += sorted(parent.iterdir()) if parent.is_dir() else []
    for folder in (*known, root / "reports"):
        if folder.is_dir() and folder.resolve().is_relative_to(root.resolve()):
            yield folder


def owner_of(config: Config, path: Path) -> str | None:
    """The stage that writes `path`; None for what no stage has written."""
    *above, name = path.relative_to(config.root).parts
    stem, _, kind = name.rpartition(".")
    match above:
        case ["data", table] if table in MARKS:
            whole = not path.exists() or (path / MARKS[table]).is_file()
            return f"{WRITERS[table]}@{name}" if whole else None
        case ["data", "metrics"] if path.is_dir():
            return f"report@{name}"
        case ["data", "costs"] if kind == "json" and stem.count(".") == 2:
            return f"evaluate@{stem}"
        case ["data", "costs"] if kind == "json":
            return stem.replace(".", "@", 1) if stem.partition(".")[0] in TRAINED else f"distill@{stem}"
        case ["data", "results", _] if kind in ("json", "png") and stem.endswith(COURSE):
            return f"course@{stem.removesuffix('.course').removesuffix('.space')}"
        case ["data", "results", _] if kind == "json" and stem.count(".") == 2:
            return f"evaluate@{stem}"
        case ["data", "results", _] if kind == "png" or name.endswith(".loss.csv"):
            return f"evaluate@{stem.removesuffix('.loss')}"
        case ["data", "checkpoints", stage] if stage in RESUMED:
            return f"{stage}@{name}"
        case ["reports"] if name in ("index.html", "survey"):
            return "page"
        case ["reports"]:
            return f"report@{name}" if not path.exists() or (path / "cells.csv").is_file() else None
    return None


def written(config: Config, path: Path) -> bool:
    """Whether a stage wrote `path`, where a user may keep files too: a ledger, a result or means that can be read, or
    losses or a picture of a cell that has one of the first two."""
    name, results = path.name, path.parent.parent == config.results
    forms: dict[str, type[Settings]] = {".course.json": courses.Course, ".space.json": courses.Space, ".json": Result}
    if path.parent == config.root / costs.FOLDER:
        return reads(path, Costs)
    if results and path.suffix == ".json":
        return any(reads(path, form) for end, form in forms.items() if name.endswith(end))
    if results:
        cell = name.split(".")[0]
        beside = [found for found in config.results.glob("*/*.json") if found.name.startswith(f"{cell}.")]
        return reads(config.root / costs.place(cell), Costs) or any(written(config, found) for found in beside)
    return path.parent.name != "metrics" or all(means(file) for file in path.iterdir())


def means(path: Path) -> bool:
    """Whether the file at `path` holds what a report tells `dvc metrics`."""
    with contextlib.suppress(UserError, OSError):
        said = read_json(path)
        lines = list(said.values()) if isinstance(said, dict) else [None]
        return path.suffix == ".json" and all(
            isinstance(line, dict) and line.keys() <= {"mean", "std"} for line in lines
        )
    return False


def reads(path: Path, form: type[Settings]) -> bool:
    """Whether the file at `path` says what a description of this form does."""
    with contextlib.suppress(UserError, OSError):
        descriptions.read(path, form, "")
        return True
    return False


def misplaced(config: Config, path: Path, owner: str) -> bool:
    """Whether a result lies under a dataset that is not its cell's."""
    results = path.parent.parent == config.results
    return results and config.rows[owner.partition("@")[2].split(".")[0]].dataset != path.parent.name


@contextlib.contextmanager
def held(config: Config, orphan: Orphan) -> Iterator[None]:
    """Nobody runs the stage that wrote it, or reads it; lock.Held where somebody does."""
    stage, _, key = orphan.owner.partition("@")
    base = config.root / lock.CHECKPOINTS
    names = [key] if stage != "evaluate" or "." in key else [p.name for p in (base / stage).glob(f"{key}.*")]
    with contextlib.ExitStack() as locks:
        for name in names:
            if (path := base / stage / name / "lock").is_file():
                locks.enter_context(lock.flocked(path, fcntl.LOCK_EX))
        yield


def free(config: Config, orphan: Orphan) -> bool:
    """Whether no process runs the stage that wrote it, or reads it."""
    try:
        with held(config, orphan):
            return True
    except lock.Held:
        return False


def remove(config: Config, found: list[Orphan]) -> None:
    """Remove what `orphans` found.

    Raises:
        UserError: something of it is in use; the rest is gone.
    """
    kept = []
    for orphan in found:
        if orphan.path is None:
            continue
        try:
            with held(config, orphan):
                delete(orphan.path)
        except lock.Held:
            kept.append(orphan)
            continue
        if orphan.path.parent.parent == config.results:
            with contextlib.suppress(OSError):
                orphan.path.parent.rmdir()  # if it was the last one
    record.forget(config.root, {orphan.owner for orphan in found if orphan.path is None})
    if kept:
        names = ", ".join(sorted({orphan.owner for orphan in kept}))
        raise UserError(f"{names}: in use by another process, so kept; run the same command again when it has ended")
