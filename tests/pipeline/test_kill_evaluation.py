"""Evaluation killed with SIGKILL: finished networks stay, the others are trained again, accuracies are the same."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.pipeline.project import Project

CELL, NETWORKS, EPOCHS = "dm-digits-1", 4, 40
RESULT = f"data/results/digits/{CELL}.convnet2_w16.short.json"
KEPT = f"data/checkpoints/evaluate/{CELL}.convnet2_w16.short"


def set_up(project: Project, together: int) -> None:
    with project.params() as params:
        params["protocols"]["short"] |= {"epochs": EPOCHS, "networks": NETWORKS}
        params["run"]["together"] = together
    shutil.rmtree(project.root / KEPT, ignore_errors=True)
    (project.root / RESULT).unlink()
    project.call("python", "-m", "stages.resolve")


def accuracies(project: Project) -> list[list[float]]:
    return json.loads((project.root / RESULT).read_text())["accuracies"]


def finished_networks(project: Project) -> dict[Path, int]:
    """Each kept network and when it was written."""
    return {path: path.stat().st_mtime_ns for path in (project.root / KEPT).glob("0-*/[0-9].safetensors")}


@pytest.mark.parametrize("together", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_evaluation_goes_on(project: Project, finished: Project, tmp_path: Path, together: int) -> None:
    unbroken = finished.copy(tmp_path / "unbroken")
    for one in (project, unbroken):
        set_up(one, together)
    unbroken.call("python", "-m", "stages.evaluate", CELL)

    process = project.start_stage("evaluate", CELL)
    while not finished_networks(project):
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(random.Random(f"kill {together}").uniform(0, 0.02))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (project.root / RESULT).exists()
    before = finished_networks(project)
    assert 1 <= len(before) < NETWORKS

    project.call("python", "-m", "stages.evaluate", CELL)
    after = finished_networks(project)
    assert len(after) == NETWORKS and {path: after[path] for path in before} == before
    if together == 1:
        assert accuracies(project) == accuracies(unbroken)
    else:  # other companions, other rounding: some test images may be judged otherwise
        assert accuracies(project)[0] == pytest.approx(accuracies(unbroken)[0], abs=1.0)
