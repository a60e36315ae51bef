"""Two processes, one output: a stage that is run elsewhere is refused, and what it has written stays as it is."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from ruamel.yaml import YAML

from ddpipe.errors import UserError
from ddpipe.files import artifacts
from ddpipe.pipeline import lock, record
from tests.tracked import TRACKED
from tests.unit.small_project import ROOT, Project

RUNS = {  # a run of every stage of dvc.yaml; "further" is the same command as evaluate, "own" as prepare
    "resolve": ("resolve", "resolve"),
    "prepare": ("prepare@tiny", "prepare tiny"),
    "own": ("prepare@tiny", "prepare tiny"),
    "experts": ("experts@tiny", "experts tiny"),
    "generators": ("generators@tiny", "generators tiny"),
    "distill": ("distill@dm-tiny-1", "distill dm-tiny-1"),
    "evaluate": ("evaluate@dm-tiny-1.small.quick", "evaluate dm-tiny-1"),
    "further": ("evaluate@dm-tiny-1.other.again", "evaluate dm-tiny-1-other-again"),
    "course": ("course@dc-tiny-1", "course dc-tiny-1"),
    "report": ("report@tiny", "report tiny"),
    "page": ("page", "page"),
}
INPUTS = [
    ("evaluate@dm-tiny-1.small.quick", "report tiny"),
    ("evaluate@dm-tiny-1.other.again", "page"),
    ("course@dc-tiny-1", "report tiny"),
    ("distill@dc-tiny-1", "course dc-tiny-1"),
    ("experts@tiny", "course dc-tiny-1"),
    ("resolve", "experts tiny"),
    ("resolve", "distill dm-tiny-1"),
    ("prepare@tiny", "experts tiny"),
    ("prepare@tiny", "distill dm-tiny-1"),
    ("experts@tiny", "distill herding-tiny-1"),
    ("experts@tiny", "generators tiny"),
    ("prepare@tiny", "generators tiny"),
    ("prepare@tiny", "evaluate dm-tiny-1"),
    ("distill@dm-tiny-1", "evaluate dm-tiny-1"),
]
HOLD = """
import sys
from ddpipe.pipeline import lock
with getattr(lock, sys.argv[1])(sys.argv[2]): print(flush=True); input()
"""


@contextmanager
def held(project: Project, name: str, how: str = "writing") -> Iterator[int]:
    """Another process has the lock of a stage; its id."""
    command = [sys.executable, "-c", HOLD, how, name]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=project.root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


def test_every_stage_is_here() -> None:
    assert RUNS.keys() == YAML(typ="safe").load(TRACKED / "dvc.yaml")["stages"].keys()


@pytest.mark.parametrize("stage", RUNS)
def test_a_stage_that_runs_elsewhere(stage: str, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    name, command = RUNS[stage]
    before = project.outputs()
    with held(project, name) as pid:
        assert project.run(*command.split()) == 2
        said = capsys.readouterr().err
        assert f"error: {name}: another process is running this stage; wait for it or stop it (`kill {pid}`)" in said
        assert project.outputs() == before
    assert project.run(*command.split()) == 0  # a killed process holds nothing


@pytest.mark.parametrize(("name", "command"), INPUTS)
def test_what_another_process_is_writing_is_not_read(name: str, command: str, project: Project) -> None:
    with held(project, name):
        assert project.run(*command.split()) == 2
    with held(project, name, "reading"):
        assert project.run(*command.split()) == 0


def test_a_full_disk_names_the_lock(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lock.os, "write", full)
    assert project.run("prepare", "tiny") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: cannot write data/checkpoints/prepare/tiny/lock: No space left on device; free")


def test_what_others_read_is_not_written(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with held(project, "prepare@tiny", "reading"):
        assert project.run("prepare", "tiny") == 2
    assert "prepare@tiny: other processes are reading what it writes" in capsys.readouterr().err


@pytest.mark.parametrize("stage", RUNS)
def test_what_killed_writers_left_is_cleared(stage: str, project: Project) -> None:
    name, command = RUNS[stage]
    folders = (
        "data/resolved",
        "data/prepared/tiny",
        "data/experts/tiny",
        "data/generators/tiny",
        "data/distilled/dm-tiny-1",
        "reports/tiny",
        "reports/survey",
    )
    outputs = set()
    for file in written_by(project, command):
        outputs.add(next((folder for folder in folders if file.startswith(f"{folder}/")), file))
    assert outputs
    left = [artifacts.temporary_name(project.root / path) for path in outputs]
    left.append(artifacts.temporary_name(project.root / "data/checkpoints" / name.replace("@", "/") / "x"))
    other = project.root / "data/prepared" / ".another.1-00000000.tmp"
    for path in [*left, other]:
        path.mkdir()
        (path / "half").write_text("")
    assert project.run(*command.split()) == 0
    assert not [path for path in left if path.exists()]
    assert other.exists()


def written_by(project: Project, command: str) -> list[str]:
    """Files that a command writes anew."""
    old = {path: path.stat().st_ino for path in project.root.rglob("*") if path.is_file()}
    assert project.run(*command.split()) == 0
    found = [p for p in project.root.rglob("*") if p.is_file() and old.get(p) != p.stat().st_ino]
    return [str(p.relative_to(project.root)) for p in found if "checkpoints" not in p.parts]


def test_writers_that_know_nothing_of_each_other(tmp_path: Path) -> None:
    """Whatever their turns, each leaves its own whole files."""

    def write(word: str) -> None:
        for _ in range(50):
            artifacts.write_text(tmp_path / "file", word * 1000)

    threads = [Thread(target=write, args=(word,)) for word in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_text() in {word * 1000 for word in "abc"}
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


ENTRIES = record.entries((TRACKED / "dvc.lock").read_text())
WHOLE = ("schema: '2.0'\nstages:\n" + "".join(list(ENTRIES.values())[:3])).encode()
DAMAGED = {
    "is empty": b"",
    "is empty ": b"\0" * 4096,
    "is cut short": WHOLE[: len(WHOLE) // 2 - 3],
    "is cut short ": b"schema: '2.0'\nstages:\n",
    "holds both sides of a merge": WHOLE[:-1] + b"\n<<<<<<< HEAD\n",
    "is not what DVC writes": b"[1, 2\n",
    "is damaged near line": WHOLE.replace(b"    deps:\n", b"    deps: }\n", 1),
    "is damaged in what it says of": WHOLE.replace(b"    - path: ", b"    - pth: ", 1),
    "is damaged in what it says of ": WHOLE.replace(b"    cmd: ", b"    cmmd: ", 1),
}


@pytest.mark.parametrize("says", DAMAGED)
def test_a_damaged_dvc_lock(says: str, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    path = project.root / "dvc.lock"
    path.write_bytes(WHOLE)
    assert project.run("check") == 0
    assert project.run("report", "tiny") == 0  # any stage keeps a copy
    path.write_bytes(DAMAGED[says])
    for command in ("check", "plan tiny"):
        capsys.readouterr()
        assert project.run(*command.split()) == 2
        said = capsys.readouterr().err
        assert f"error: dvc.lock {says.strip()}" in said and "`cp data/checkpoints/dvc.lock dvc.lock`" in said
    assert project.run("report", "tiny") == 0  # a stage can do without
    assert f"note: dvc.lock {says.strip()}" in capsys.readouterr().err
    subprocess.run("cp data/checkpoints/dvc.lock dvc.lock", shell=True, cwd=project.root, check=True)
    assert path.read_bytes() == WHOLE
    assert project.run("check") == 0


def test_without_a_copy_and_without_git(project: Project) -> None:
    (project.root / "dvc.lock").write_bytes(b"")
    assert "delete it (`rm dvc.lock`)" in str(record.trouble(project.root))


def test_a_damaged_rwlock(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.root / ".dvc/tmp").mkdir(parents=True)
    (project.root / ".dvc/tmp/rwlock").write_text("")
    assert project.run("check") == 2
    assert ".dvc/tmp/rwlock is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("stage", RUNS)
def test_a_key_that_leads_out_of_the_project(stage: str, project: Project) -> None:
    """It is refused before anything is cleared or made at the place that it names."""
    words = RUNS[stage][1].split()
    if not words[1:]:
        return
    for key in ("../../../../elsewhere", "nope"):
        place = project.root / "data/checkpoints" / words[0] / key
        place.parent.mkdir(parents=True, exist_ok=True)
        outside = project.root.parent / "elsewhere" / ".mine.tmp"
        outside.mkdir(parents=True, exist_ok=True)
        assert project.run(words[0], key) == 2
        assert outside.exists() and not (outside.parent / "lock").exists()
        assert key == "nope" or place.resolve() == outside.parent
    assert not (project.root / "data/checkpoints" / words[0] / "nope").exists()


@pytest.mark.parametrize(
    "name", ["report@../x", "report@/x", "report@", "report@.", "../report", "re port@x", "report@x/y"]
)
def test_a_name_that_is_no_stage(name: str) -> None:
    with pytest.raises(UserError, match="is no stage"):
        lock.folder(name)
