"""DVC killed while it writes dvc.lock: the damage is named, what is said mends it, and nothing is computed twice."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.project import Project, folder_bytes

CELL = "dm-digits-1"
# `dvc` that gets a signal when a part of the new entry of a stage, and of all others, is on the disk.
DVC = """
import io, os, sys
import dvc.utils.serialize._yaml as writer
from dvc.cli import main

target, number, part, *arguments = sys.argv[1:]
write, before = writer._dump, writer.load_yaml("dvc.lock")["stages"][target]

def dump(data, stream):
    if data.get("stages", {}).get(target, before) == before:
        return write(data, stream)
    whole = io.StringIO()
    write(data, whole)
    stream.write(whole.getvalue()[: int(float(part) * len(whole.getvalue()))])
    stream.flush()
    os.kill(os.getpid(), int(number))

writer._dump = dump
sys.exit(main(arguments))
"""


def change(project: Project) -> None:
    with project.recipe("dm") as recipe:
        recipe["dm"]["cells"]["digits-1"]["iterations"] = 3


def attempt(project: Project, *command: str) -> "subprocess.CompletedProcess[str]":
    streams = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, cwd=project.root, env=project.environment(), **streams)


def finished(project: Project, stage: str) -> dict[Path, int]:
    """What the stage has finished for the cell (sets, networks), and when it was written."""
    folders = (project.root / "data/checkpoints" / stage).glob(f"{CELL}*")
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*.safetensors")}


def assert_nothing_is_trained(project: Project, stage: str, log: str, before: dict[Path, int]) -> None:
    assert not re.search(rf"^{CELL} set \d+: \d+/", log, re.MULTILINE)
    assert finished(project, stage) == before


@pytest.mark.parametrize(
    ("stage", "kill", "part"),
    [
        ("distill", signal.SIGKILL, 0.5),
        pytest.param("distill", signal.SIGINT, 0.0, marks=pytest.mark.slow),
        pytest.param("evaluate", signal.SIGTERM, 0.9, marks=pytest.mark.slow),
        pytest.param("evaluate", signal.SIGKILL, 0.0, marks=pytest.mark.slow),
    ],
)
def test_a_kill_while_dvc_writes_its_lock(project: Project, stage: str, kill: int, part: float) -> None:
    change(project)
    target = f"{stage}@{CELL}"
    killed = attempt(project, sys.executable, "-c", DVC, target, str(int(kill)), str(part), "repro", f"evaluate@{CELL}")
    assert killed.returncode != 0 and f"Running stage '{target}'" in killed.stdout, killed.stdout
    content = (project.root / "dvc.lock").read_bytes()
    before = finished(project, stage)
    assert before

    damaged = r"error: dvc.lock is (empty|cut short|damaged|not what DVC writes).*; `(cp [^`]*)` puts back the copy of "
    for command in ("check", f"plan {target}"):
        told = attempt(project, "ddpipe", *command.split())
        assert told.returncode == 2
        found = re.search(damaged, told.stdout)
        assert found, told.stdout
    plain = attempt(project, "dvc", "repro", f"evaluate@{CELL}")
    if plain.returncode == 0:  # the part is a dvc.lock too, of fewer stages: they are run again
        assert_nothing_is_trained(project, stage, plain.stdout, before)
        (project.root / "dvc.lock").write_bytes(content)
    else:
        assert "Running stage" not in plain.stdout

    project.call("sh", "-c", found[2])
    assert "dvc.lock" not in attempt(project, "ddpipe", "check").stdout
    log = project.dvc("repro", f"evaluate@{CELL}")
    again = re.findall(r"^Running stage '([^']+)'", log, re.MULTILINE)
    assert set(again) <= {target, f"evaluate@{CELL}"}
    assert_nothing_is_trained(project, stage, log, before)
    assert "up to date" in project.dvc("status", f"evaluate@{CELL}")
    distilled = folder_bytes(project.root / "data/distilled" / CELL)
    (project.root / "data/checkpoints/distill" / CELL / "set-0.safetensors").unlink()
    project.repro("--single-item", "--force", f"distill@{CELL}")
    assert folder_bytes(project.root / "data/distilled" / CELL) == distilled
