"""What to do about a missing or damaged output, as commands that work: told from dvc.lock and DVC's cache.

DVC trusts an object of its cache by its name. Once one is damaged (as a damaged output is where the two are links to
one file), `dvc checkout`, `dvc commit` and `dvc repro` bring the damage back, over a new whole file too. So objects
are held against their names here, and the damaged ones are named. All is plain reading of files: stages also run where
DVC is not installed. It takes two passes over the output's files, when something is wrong with it already.
"""

import configparser
import contextlib
import hashlib
import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ddpipe.errors import UserError
from ddpipe.files.yaml import read_yaml
from ddpipe.settings.names import WRITERS


def mend(path: Path) -> str:
    """What to do about the missing or damaged file `path`: the end of a sentence."""
    try:
        output = recorded(path)
        return advice(path, output) if output else unrecorded(path)
    except (UserError, OSError, ValueError, TypeError, LookupError, AttributeError, configparser.Error):
        return unrecorded(path)  # DVC's own files are missing or damaged: one trouble at a time


@dataclass(frozen=True)
class Output:
    """One output of a stage, as the dvc.lock in the folder `root` has it."""

    root: Path
    stage: str
    path: str  # relative to the root
    md5: str  # with ".dir" behind that of a folder's listing

    @cached_property
    def config(self) -> "Config":
        return Config.load(self.root)

    def object(self, md5: str) -> Path:
        return self.config.cache / "files" / "md5" / md5[:2] / md5[2:]

    @cached_property
    def files(self) -> dict[Path, str]:
        """Each file and its MD5, those of a folder from its listing in the cache; none where that is not whole."""
        if not self.md5.endswith(".dir"):
            return {self.root / self.path: self.md5}
        listing = self.object(self.md5)
        if not fits(listing, self.md5):
            return {}
        return {self.root / self.path / one["relpath"]: one["md5"] for one in json.loads(listing.read_bytes())}

    @cached_property
    def is_cached(self) -> bool:
        """Whether `dvc checkout` restores it: not where dvc.yaml says `cache: false` (`dvc repro` does, if it can)."""
        body = read_yaml(self.root / "dvc.yaml")["stages"][self.stage.split("@")[0]]
        body = body.get("do", body)
        kinds = (body.get(kind, ()) for kind in ("outs", "metrics", "plots"))
        named = [entry for entries in kinds for entry in entries if isinstance(entry, dict)]
        return all(options.get("cache", True) for entry in named for options in entry.values())


def recorded(path: Path) -> Output | None:
    """The output to which `path` belongs, by the nearest dvc.lock above it."""
    here = Path(os.path.abspath(path))  # lexically: the file itself may be a link into the cache
    root = next((folder for folder in here.parents if (folder / "dvc.lock").exists()), None)
    if root is None:
        return None
    for stage, entry in read_yaml(root / "dvc.lock")["stages"].items():
        for out in entry.get("outs", ()):
            if here.is_relative_to(root / out["path"]):
                return Output(root, stage, out["path"], out["md5"])
    return None


def advice(path: Path, output: Output) -> str:
    here, repro = Path(os.path.abspath(path)), f"`dvc repro {shlex.quote(output.stage)}`"
    objects = {md5: output.object(md5) for md5 in (output.md5, *output.files.values())}
    damaged = [file for md5, file in objects.items() if file.exists() and not fits(file, md5)]
    changed = [file for file, md5 in output.files.items() if not fits(file, md5)]
    if output.files and not changed and not damaged:
        again = f"`dvc repro --force --single-item {shlex.quote(output.stage)}`"
        return f"DVC has the very same file, so have it written anew: {enter(output.root)}{again}"
    # all that DVC would ask about before it overwrites it, and all from which it would copy damage
    gone = [file for file in (*(changed or [here]), *damaged) if os.path.lexists(file)]
    told = "run " + enter(output.root)
    if damaged:
        told = f"DVC's cache holds damage too; {told}"
    if gone:
        told += f"`rm -f {' '.join(shown(file, output.root) for file in dict.fromkeys(gone))}`, then "
    if not damaged and all(file.exists() for file in objects.values()):
        return told + (f"`dvc checkout {shlex.quote(output.path)}`" if output.is_cached else repro)
    if output.is_cached and output.config.has_remote:
        return told + f"`dvc pull {shlex.quote(output.path)}`, or {repro} where the remote has no whole copy"
    return told + repro


def unrecorded(path: Path) -> str:
    """The advice where dvc.lock does not know the file: by the folder of data/ in which it lies."""
    for part, child in zip(path.parts, path.parts[1:], strict=False):
        if part in WRITERS:
            first = "delete it and " if os.path.lexists(path) else ""
            return f"{first}run `dvc repro {shlex.quote(f'{stage_of(path, part, child)}@{child}')}`"
    if ("data", "raw") in zip(path.parts, path.parts[1:], strict=False):
        return "put it back"  # no stage writes it
    return "put it back, or run the stage that writes it again"


def stage_of(path: Path, part: str, child: str) -> str:
    """The stage that writes data/<part>/<child>, in which `path` lies."""
    root = next((f.parent.parent for f in (path, *path.parents) if f.parts[-2:] == ("data", part)), Path())
    with contextlib.suppress(UserError, OSError, AttributeError, TypeError):
        if WRITERS[part] == "prepare" and child in read_yaml(root / "params.yaml").get("own", {}):
            return "own"
    return WRITERS[part]


def enter(root: Path) -> str:
    return "" if root == Path.cwd() else f"`cd {shlex.quote(str(root))}`, then "


def shown(file: Path, root: Path) -> str:
    return shlex.quote(str(file.relative_to(root) if file.is_relative_to(root) else file))


def fits(file: Path, md5: str) -> bool:
    """Whether the contents of `file` are those that DVC recorded."""
    try:
        with open(file, "rb") as stream:
            return hashlib.file_digest(stream, "md5").hexdigest() == md5.removesuffix(".dir")
    except OSError:
        return False


@dataclass(frozen=True)
class Config:
    """What DVC's configuration says about where files are kept."""

    cache: Path
    has_remote: bool  # a default one

    @classmethod
    def load(cls, root: Path) -> "Config":
        """As for a project in `root`, from its own files, the user's and the system's."""
        dvc = next((folder / ".dvc" for folder in (root, *root.parents) if (folder / ".dvc").is_dir()), root / ".dvc")
        cache, has_remote = dvc / "cache", False
        for file in (*shared_configs(), dvc / "config", dvc / "config.local"):  # the later ones win
            said: Any = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes="#")
            said.read(file)
            if folder := said.get("cache", "dir", fallback="").strip("\"'"):
                cache = Path(os.path.abspath(file.parent / Path(folder).expanduser()))
            has_remote |= said.has_option("core", "remote")
        return cls(cache, has_remote)


def shared_configs() -> Iterator[Path]:
    """The files of the system and of the user, where DVC looks for them on POSIX."""
    places = {
        "DVC_SYSTEM_CONFIG_DIR": Path(os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").joinpath("dvc"),
        "DVC_GLOBAL_CONFIG_DIR": Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "dvc",
    }
    for variable, usual in places.items():
        yield Path(os.environ.get(variable) or usual) / "config"
