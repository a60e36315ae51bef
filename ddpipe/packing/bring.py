"""What came back from a machine that ran a pack: checked, put in its place, recorded by DVC.

A stage is taken only whole and only where its numbers and code are still those that it was packed with; what it cost is
added to what is known. Unfinished work becomes a checkpoint here, from which the next pack, or this machine, goes on.
"""

import hashlib
import io
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.files.artifacts import delete, new_folder, read_json, write_bytes
from ddpipe.packing.pack import resolved_name
from ddpipe.pipeline import costs, lock, resolved

COMMITTED = 200  # stages that one call of DVC records


def unpack(config: Config, folder: Path) -> str:
    """Take in what `run.py` wrote into `folder`; what became of each stage, in words.

    Raises:
        UserError: something in `folder` is missing or damaged: then nothing is taken.
    """
    said, taken, kept, refused = manifest(folder), [], [], []
    with TemporaryDirectory(dir=folder.parent) as place:
        root = Path(place)
        extract(folder, said["files"], root)
        now = dict(resolved.everything(config))
        for stage in said["stages"]:
            state = said["states"].get(stage["name"])
            if state is None or state == "not begun":
                continue
            if why := differs(config, stage, said, now):
                refused.append(f"{stage['name']}: made with other settings or code than there are now ({why})")
                continue
            with lock.writing(owner(stage)):
                if state == "finished":
                    lost = [path for path in stage["writes"] if not is_ledger(path) and not (root / path).exists()]
                    if lost:
                        refused.append(f"{stage['name']}: {lost[0]} did not come back; run it again there, or here")
                        continue
                    for path in stage["writes"]:
                        place_(root, config.root, path)
                    taken.append(stage["name"])
                elif (root / stage["keeps"]).exists():
                    keep_(root / stage["keeps"], config.root / stage["keeps"])
                    kept.append(stage["name"])
    for first in range(0, len(taken), COMMITTED):
        record(taken[first : first + COMMITTED])
    lines = [f"taken in and recorded: {len(taken)} stages"] if taken else []
    lines += [f"to be gone on with: {', '.join(kept)}"] if kept else []
    lines += [f"not taken: {sentence}" for sentence in refused]
    return "\n".join(lines or ["nothing had been begun there"])


def manifest(folder: Path) -> dict[str, Any]:
    """home.json, as far as it is what run.py writes."""
    said = read_json(folder / "home.json", "bring the whole folder that run.py wrote")
    if not isinstance(said, dict) or not {"stages", "states", "files", "resolved"} <= said.keys():
        raise UserError(f"{folder / 'home.json'} is not what run.py writes; bring the folder that it named")
    for path in (path for stage in said["stages"] for path in (*stage["writes"], stage["keeps"])):
        if not inside(path):
            raise UserError(f"{folder / 'home.json'}: names {path[:100]!r}, which no stage writes; do not take it")
    return said


def extract(folder: Path, files: dict[str, str], root: Path) -> None:
    """The files of the archive below `root`, every one held against its digest."""
    parts = sorted(folder.glob("home.[0-9][0-9]"))
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


def differs(config: Config, stage: dict[str, Any], said: dict[str, Any], now: dict[str, Any]) -> str:
    """The first number or module in which `stage` would be made otherwise today; "" where none does."""
    group, _, key = stage["name"].partition("@")
    if group in ("evaluate", "further") and key not in config.rows and key not in config.evaluations:
        return "it is in no recipe any more"
    name = resolved_name(config, stage["name"])
    then = said["resolved"].get(name)
    if then is None:  # images are prepared from what was packed
        return ""
    return resolved.difference(then, now[name]) if name in now else "it is in no recipe any more"


def owner(stage: dict[str, Any]) -> str:
    """The name under which a stage is locked: of its unfinished work."""
    return "@".join(Path(stage["keeps"]).relative_to(lock.CHECKPOINTS).parts)


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
