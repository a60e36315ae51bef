"""Damaged outputs: the advice is followed literally, with the real `dvc`, and must bring the right bytes back."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ddpipe.files.artifacts import mend
from tests.pipeline.project import Project, folder_bytes

SLOW = pytest.mark.slow  # each takes several commands of dvc


class Output(NamedTuple):
    """An output, the damaged file in it, the stage that meets the damage, and the checkpoint behind it."""

    file: str
    reader: tuple[str, ...]
    checkpoint: str


EXPERT = Output(
    "data/experts/digits/0.safetensors", ("distill", "herding-digits-1"), "data/checkpoints/experts/digits/0.snapshots"
)
SEALED = Output("data/experts/digits/experts.json", EXPERT.reader, "data/checkpoints/experts/digits/0.safetensors")
SET = Output(
    "data/distilled/dm-digits-1/0.safetensors",
    ("evaluate", "dm-digits-1"),
    "data/checkpoints/distill/dm-digits-1/set-0.safetensors",
)


def spoil(path: Path) -> None:
    """Change the first character of the header or, of snapshots, a bit of a weight: in place, under all its names."""
    path.chmod(0o644)  # DVC writes its objects to be read alone
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(size * 3 // 4 if size > 20_000 else 8)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def refused(project: Project, *stage: str) -> str:
    """The sentence with which a stage ends that has to do its work."""
    shutil.rmtree(project.root / "data/checkpoints" / Path(*stage), ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage[0]}", *stage[1:]],
        **{"cwd": project.root, "env": project.environment(), "text": True, "capture_output": True},
    )
    assert done.returncode == 2, done.stderr
    return done.stderr.splitlines()[-1]


def follow(project: Project, said: str, choice: int = 0) -> list[str]:
    """Run the commands of the advice in their order, of the last two where it gives a choice one alone."""
    commands = re.findall(r"`([^`]+)`", said)
    if ", or `" in said:
        commands = [*commands[:-2], commands[-2:][choice]]
    for command in commands:
        project.call(*shlex.split(command))
    return commands


def right(project: Project, output: Output, whole: dict[str, bytes]) -> None:
    """The folder of the output is as it was, and its reader and DVC are content."""
    assert folder_bytes((project.root / output.file).parent) == whole
    project.call(sys.executable, "-m", f"stages.{output.reader[0]}", *output.reader[1:])


def object_of(project: Project, content: bytes, cache: str = ".dvc/cache") -> Path:
    """Where DVC keeps a file."""
    md5 = hashlib.md5(content).hexdigest()
    return project.root / cache / "files/md5" / md5[:2] / md5[2:]


def linked(project: Project, kind: str, output: Output) -> None:
    """Let outputs be links into the cache."""
    project.dvc("config", "cache.type", kind)
    project.dvc("checkout", "--relink", str(Path(output.file).parent))


@pytest.mark.parametrize(
    "output", [EXPERT, pytest.param(SEALED, marks=SLOW), pytest.param(SET, marks=SLOW)], ids=["expert", "json", "set"]
)
def test_damage_in_the_workspace_alone(project: Project, output: Output) -> None:
    path = project.root / output.file
    whole = folder_bytes(path.parent)
    spoil(path)
    said = refused(project, *output.reader)
    assert output.file in said
    folder = str(Path(output.file).parent)
    assert follow(project, said) == [f"rm -f {output.file}", f"dvc checkout {folder}"]
    right(project, output, whole)


def test_two_damaged_files_of_an_output(project: Project) -> None:
    """`dvc checkout` stops at the second one unless it is out of its way."""
    whole = folder_bytes((project.root / EXPERT.file).parent)
    for file in (SEALED.file, EXPERT.file):
        spoil(project.root / file)
    follow(project, refused(project, *EXPERT.reader))
    right(project, EXPERT, whole)


@pytest.mark.parametrize("output", [EXPERT, pytest.param(SET, marks=SLOW)], ids=["expert", "set"])
@pytest.mark.parametrize("kind", ["hardlink", pytest.param("copy", marks=SLOW), pytest.param("symlink", marks=SLOW)])
def test_damage_in_the_cache_and_the_checkpoint_too(project: Project, output: Output, kind: str) -> None:
    path, checkpoint = project.root / output.file, project.root / output.checkpoint
    whole = folder_bytes(path.parent)
    kept = object_of(project, path.read_bytes())
    linked(project, kind, output)
    for file in {file.stat().st_ino: file for file in (path, kept, checkpoint)}.values():  # each file once
        spoil(file)
    said = refused(project, *output.reader)
    assert "DVC's cache holds damage too" in said
    rm, repro = follow(project, said)
    assert rm == f"rm -f {output.file} {kept.relative_to(project.root)}" and repro.startswith("dvc repro ")
    right(project, output, whole)
    assert kept.read_bytes() == whole[path.name]
    assert "up to date" in project.dvc("status", repro.split()[-1])


@SLOW
def test_a_remote_has_a_whole_copy(project: Project, tmp_path: Path) -> None:
    project.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    project.dvc("config", "--local", "cache.dir", "kept")  # another place for objects
    shutil.move(project.root / ".dvc/cache", project.root / "kept")
    project.dvc("push", "experts@digits")
    path = project.root / EXPERT.file
    whole = folder_bytes(path.parent)
    kept = object_of(project, path.read_bytes(), "kept")
    for file in (path, kept, project.root / EXPERT.checkpoint):
        spoil(file)
    said = refused(project, *EXPERT.reader)
    assert follow(project, said) == [
        f"rm -f {EXPERT.file} kept/{'/'.join(kept.parts[-4:])}",
        "dvc pull data/experts/digits",
    ]
    right(project, EXPERT, whole)
    # nothing in the cache
    shutil.rmtree(project.root / "kept")
    spoil(path)
    assert follow(project, refused(project, *EXPERT.reader))[-1] == "dvc pull data/experts/digits"
    right(project, EXPERT, whole)
    # the remote's copy is damaged as well: the other choice
    for file in (path, kept, tmp_path / "store" / kept.relative_to(project.root / "kept")):
        spoil(file)
    assert follow(project, refused(project, *EXPERT.reader), choice=1)[-1] == "dvc repro experts@digits"
    right(project, EXPERT, whole)


def no_lock(project: Project) -> None:
    (project.root / "dvc.lock").unlink()


def no_cache(project: Project) -> None:
    shutil.rmtree(project.root / ".dvc/cache")


def damaged_listing(project: Project) -> None:
    for listing in (project.root / ".dvc/cache/files/md5").glob("*/*.dir"):
        spoil(listing)


@SLOW
@pytest.mark.parametrize("more", [no_lock, no_cache, damaged_listing])
def test_without_a_record_or_a_whole_cache(project: Project, more: Callable[[Project], None]) -> None:
    path = project.root / EXPERT.file
    whole = folder_bytes(path.parent)
    more(project)
    spoil(path)
    said = refused(project, *EXPERT.reader)
    if "delete it" in said:
        path.unlink()
    assert follow(project, said)[-1] == "dvc repro experts@digits"
    right(project, EXPERT, whole)


def test_damage_that_dvc_recorded_is_made_anew(project: Project) -> None:
    """Damage between the stage's end and DVC's digest, or a file of an older version."""
    path = project.root / EXPERT.file
    whole = folder_bytes(path.parent)
    spoil(path)
    project.dvc("commit", "--force", "experts@digits")
    said = refused(project, *EXPERT.reader)
    assert follow(project, said) == ["dvc repro --force --single-item experts@digits"]
    right(project, EXPERT, whole)


@SLOW
def test_a_missing_file_is_fetched(project: Project) -> None:
    path = project.root / EXPERT.file
    whole = folder_bytes(path.parent)
    path.unlink()
    assert follow(project, refused(project, *EXPERT.reader)) == ["dvc checkout data/experts/digits"]
    right(project, EXPERT, whole)


def test_a_result_is_made_again_by_its_stage(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC keeps no copy of what git has; networks that are finished do."""
    [result] = (project.root / "data/results/digits").glob("dm-digits-1.*.json")
    whole = result.read_bytes()
    spoil(result)
    monkeypatch.chdir(project.root)
    _, repro = follow(project, mend(result.relative_to(project.root)))
    assert repro == "dvc repro evaluate@dm-digits-1" and result.read_bytes() == whole
