"""dvc.lock loses its last changes: nothing is computed again, and every entry is written as it was.

Whatever varies from run to run lies in no output: sets come from DVC's run-cache, results are found to be those of the
same inputs where they lie.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ddpipe.pipeline import record
from tests.pipeline.project import CELLS, Project, folder_bytes, outcome

FOLDERS = ("data/programs", "data/prepared", "data/experts", "data/distilled", "data/results", "data/costs")
DVC: tuple[str, ...] = ("dvc", "repro", "report@digits")
RUN: tuple[str, ...] = ("ddpipe", "run", "report@digits")


def everything(project: Project) -> dict[str, dict[str, bytes]]:
    return {name: folder_bytes(project.root / name) for name in (*FOLDERS, "data/metrics", "reports")}


def lose_the_end(lock: str) -> str:
    """As if DVC had not recorded the last stages: their entries are gone."""
    blocks = list(record.entries(lock).values())
    return lock[: lock.index(blocks[len(blocks) // 3])]


def lose_all(lock: str) -> str:
    return ""


@pytest.mark.parametrize("command", [DVC, RUN])
@pytest.mark.parametrize("lose", [lose_the_end, lose_all])
def test_entries_are_lost(project: Project, command: tuple[str, ...], lose: Callable[[str], str]) -> None:
    """And the checkpoints too. Each evaluation looks at its result, and trains no network."""
    path, before = project.root / "dvc.lock", everything(project)
    lock = path.read_text()
    shutil.rmtree(project.root / "data/checkpoints")
    path.unlink() if not (left := lose(lock)) else path.write_text(left)
    done = outcome(project.call(*command))
    assert not any(name.startswith(("prepare", "experts", "distill")) for name in done.ran)
    assert not list((project.root / "data/checkpoints").rglob("*.safetensors")), "no network was trained"
    assert everything(project) == before
    assert record.entries(path.read_text()) == record.entries(lock)  # DVC goes through inputs in any order
    assert outcome(project.call(*command)) == (set(), set())


def test_an_older_lock_of_another_machine(project: Project, tmp_path: Path) -> None:
    """A clone computes all that the first one did, in other seconds; then `git checkout dvc.lock`."""
    clone = Project(tmp_path / "clone", project.home)
    project.call("git", "clone", "--quiet", str(project.root), str(clone.root))
    assert clone.repro("report@digits").ran >= {"experts@digits", *(f"distill@{cell}" for cell in CELLS)}
    assert clone.call("git", "status", "--porcelain", "--untracked-files=no") == "", "not even seconds changed"
    (clone.root / "dvc.lock").write_text((project.root / "dvc.lock").read_text())
    assert "up to date" in clone.dvc("status", "report@digits")
    for command in (DVC, RUN):
        assert outcome(clone.call(*command)) == (set(), set())


def test_forced_stages_leave_the_rest_alone(project: Project) -> None:
    """Made again without checkpoints, in other seconds."""
    shutil.rmtree(project.root / "data/checkpoints")
    before, lock = everything(project), (project.root / "dvc.lock").read_text()
    forced = ("distill@dm-digits-1", "distill@dc-digits-1")
    assert project.repro("--force", "--single-item", *forced).ran == set(forced)
    assert project.repro("report@digits") == (set(), set())
    assert everything(project) == before and (project.root / "dvc.lock").read_text() == lock
