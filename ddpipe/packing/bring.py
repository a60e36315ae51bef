"""What came back from a machine that ran a pack: checked, put in its place, recorded by DVC.

A stage is taken only whole and only where its numbers, code and inputs are still those that it was packed with, and
where sets and results say so themselves; what it cost is added to what is known. Unfinished work becomes a checkpoint
here, from which the next pack, or this machine, goes on.
"""

import hashlib
import io
import re
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.files.artifacts import delete, new_folder, write_bytes
from ddpipe.packing.pack import Stage, contents, resolved_name, writes
from ddpipe.pipeline import costs, descriptions, lock, resolved, results
from ddpipe.pipeline.graph import opened
from ddpipe.planning.steps import RUNS, Step, checkpoints
from ddpipe.settings import Cell, Settings
from ddpipe.settings.reading import validate

SETS, ABOUT = Path("data/distilled"), "distilled.json"
AGAIN = "pack and run it again"
COMMITTED = 200  # stages that one call of DVC records


class Home(Settings):
    """home.json: pack.json, and what run.py adds, `states` and the SHA-256 of `files`."""

    name: str
    stages: list[Stage]
    resolved: dict[str, dict[str, Any]]
    inputs: dict[str, str] = {}  # path -> digest of what stages read that no packed one made; early packs do not say
    states: dict[str, Literal["not begun", "stopped", "failed", "finished"]]
    files: dict[str, str]


def unpack(config: Config, folder: Path) -> str:
    """Take in what `run.py` wrote into `folder`; what became of each stage, in words.

    Raises:
        UserError: something in `folder` is missing or damaged: then nothing is taken.
    """
    said = manifest(folder)
    taken: list[str] = []
    kept, refused = [], []
    with TemporaryDirectory(dir=folder.parent) as place:
        root = Path(place)
        extract(folder, said.files, root)
        moved = {path for path, then in said.inputs.items() if contents(config.root / path) != then}
        now, known = dict(resolved.everything(config)), outputs(config, said.stages)
        for stage in said.stages:
            state = said.states.get(stage.name, "not begun")
            if state == "not begun":
                continue
            if why := differs(config, stage, said, now):
                refused.append(f"{stage.name}: made with other settings or code than there are now ({why})")
                continue
            if read := [path for path in stage.reads if path in moved]:
                refused.append(f"{stage.name}: it read another {read[0]} than there is now; {AGAIN}")
                continue
            if (sorted(stage.writes), stage.keeps) != known.get(stage.name):
                refused.append(
                    f"{stage.name}: says that it wrote {', '.join(stage.writes)[:200]}; dvc.yaml says otherwise"
                )
                continue
            with lock.writing(owner(stage)):
                if state == "finished":
                    if why := lacking(stage, root, taken) or unlike(config, stage, root):
                        refused.append(f"{stage.name}: {why}")
                        continue
                    for path in stage.writes:
                        place_(root, config.root, path)
                    taken.append(stage.name)
                elif (root / stage.keeps).exists():
                    keep_(root / stage.keeps, config.root / stage.keeps)
                    kept.append(stage.name)
    for first in range(0, len(taken), COMMITTED):
        record(taken[first : first + COMMITTED])
    lines = [f"taken in and recorded: {len(taken)} stages"] if taken else []
    lines += [f"to be gone on with: {', '.join(kept)}"] if kept else []
    lines += [f"not taken: {sentence}" for sentence in refused]
    return "\n".join(lines or ["nothing had been begun there"])


def manifest(folder: Path) -> Home:
    """home.json, as far as it is what run.py writes."""
    said = descriptions.read(folder / "home.json", Home, "bring the whole folder that run.py wrote")
    for path in (path for stage in said.stages for path in (*stage.writes, stage.keeps)):
        if not inside(path):
            raise UserError(f"{folder / 'home.json'}: names {path[:100]!r}, which no stage writes; do not take it")
    for path in said.inputs:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise UserError(f"{folder / 'home.json'}: names {path[:100]!r}, which no pack reads; do not take it")
    return said


def outputs(config: Config, stages: Iterable[Stage]) -> dict[str, tuple[list[str], str]]:
    """What those of `stages` that there are today write, sorted, and where they keep unfinished work."""
    tables: dict[str, Collection[str]] = {
        "distill": config.rows,
        "evaluate": config.rows,
        "further": config.evaluations,
        "course": config.courses,
    }
    tables |= {"experts": config.params.experts, "generators": config.params.generators, "own": config.params.own}
    parts = {stage.name: stage.name.partition("@") for stage in stages}
    names = [name for name, (group, _, key) in parts.items() if key in tables.get(group, ())]
    if not names:
        return {}
    with opened(config, names, upstream=False) as graph:
        return {
            stage.addressing: (
                sorted(writes(config, stage)),
                str(checkpoints(config, Step(stage.addressing, RUNS)).relative_to(config.root)),
            )
            for stage in graph.order
        }


def extract(folder: Path, files: dict[str, str], root: Path) -> None:
    """The files of the archive below `root`, every one held against its digest."""
    numbered = (path for path in folder.glob("home.*") if re.fullmatch(r"home\.[0-9]{2,}", path.name))
    parts = sorted(numbered, key=lambda path: int(path.suffix[1:]))
    found = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(b"".join(part.read_bytes() for part in parts))) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.name in files else None
                if content is None or not inside(member.name):
                    raise UserError(
                        f"{folder}: holds {member.name[:100]!r}, which run.py packs for nobody; do not take it"
                    )
                data = content.read()
                if hashlib.sha256(data).hexdigest() == files[member.name]:
                    write_bytes(root / member.name, data)
                    found.add(member.name)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(f"{folder}: home.00 and what follows it are damaged or not all here ({error})") from error
    for name in files.keys() - found:
        raise UserError(f"{folder}: {name} is not as run.py packed it; bring the whole folder again")


def inside(path: str) -> bool:
    """Whether a path from another machine names something that stages write in a project."""
    return path.startswith("data/") and ".." not in Path(path).parts


def differs(config: Config, stage: Stage, said: Home, now: dict[str, Any]) -> str:
    """The first number or module in which `stage` would be made otherwise today; "" where none does."""
    group, _, key = stage.name.partition("@")
    if group in ("evaluate", "further") and key not in config.rows and key not in config.evaluations:
        return "it is in no recipe any more"
    name = resolved_name(config, stage.name)
    then = said.resolved.get(name)
    if then is None:  # images of the user's own are prepared from what was packed
        return "" if group == "own" else "home.json does not say of which"
    return resolved.difference(then, now[name]) if name in now else "it is in no recipe any more"


def lacking(stage: Stage, root: Path, taken: Collection[str]) -> str:
    """What did not come back of a finished stage, or was not taken of those whose outputs it read; "" for nothing."""
    for need in stage.after:
        if need not in taken:
            return f"it read what {need} made, which was not taken"
    lost = (path for path in stage.writes if not is_ledger(path) and not (root / path).exists())
    return next((f"{path} did not come back; run it again there, or here" for path in lost), "")


def unlike(config: Config, stage: Stage, root: Path) -> str:
    """Why a set or a result below `root` is not of the numbers of today, whatever was said of it; "" where it is."""
    group, _, key = stage.name.partition("@")
    try:
        if group == "distill":
            return strange(config, key, descriptions.read(root / SETS / key / ABOUT, descriptions.Distilled, AGAIN))
        if group in ("evaluate", "further"):
            asked = config.evaluation(key)
            path = root / config.path(asked).relative_to(config.root)
            result = descriptions.read(path, descriptions.Result, AGAIN)
            about = descriptions.read(config.root / SETS / asked.cell / ABOUT, descriptions.Distilled)
            if list(result.fingerprints) != results.fingerprints(config, asked, about):
                return f"its result is of another set or protocol than there are now; {AGAIN}"
    except UserError as error:
        return str(error)
    return ""


def strange(config: Config, cell: str, about: descriptions.Distilled) -> str:
    """In what a set was not made as its cell would be today; "" for nothing."""
    row = config.row(cell)
    expected = row.model_dump(include={"method", "recipe", "dataset", "data", "ipc"}) | {"network": row.student}
    expected |= {"cell": cell, "seed": config.params.seed}
    other = [key for key, value in expected.items() if getattr(about, key) != value]
    if not other and validate(Cell, about.settings, "") != config.resolved(cell):
        other = ["settings"]
    return f"its {ABOUT} says another thing of {other[0]} than the cell does now; {AGAIN}" if other else ""


def owner(stage: Stage) -> str:
    """The name under which a stage is locked: of its unfinished work."""
    return "@".join(Path(stage.keeps).relative_to(lock.CHECKPOINTS).parts)


def is_ledger(path: str) -> bool:
    return Path(path).parent == costs.FOLDER


def place_(root: Path, project: Path, path: str) -> None:
    """Put a file, a folder or a ledger where it belongs; a ledger keeps what it knew, and there may be none."""
    new = root / path
    if is_ledger(path):
        for seal, cost in costs.ledger(new).items():
            costs.note(new.stem, seal, cost.model_dump(mode="json", exclude_unset=True))
    elif new.is_dir():
        copied(new, project / path)
    else:
        delete(project / path)
        write_bytes(project / path, new.read_bytes())


def copied(new: Path, path: Path) -> None:
    with new_folder(path) as folder:
        for file in new.rglob("*"):
            if file.is_file():
                write_bytes(folder / file.relative_to(new), file.read_bytes())


def keep_(new: Path, path: Path) -> None:
    """The unfinished work, beside what finished pieces and locks lie there; of one name the new one."""
    for file in new.rglob("*"):
        if file.is_file():
            write_bytes(path / file.relative_to(new), file.read_bytes())


def record(names: list[str]) -> None:
    """Tell DVC that these stages ran, with what `resolve` says of them now."""
    for words in (["repro", "--quiet", "resolve"], ["commit", "--force", "--quiet", *names]):
        done = subprocess.run([sys.executable, "-m", "dvc", *words], capture_output=True, text=True)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            command = " ".join(["dvc", *words])[:200]
            raise UserError(f"all is in its place, but `{command}` failed ({lines[-1][:200]}); run it again, mended")
