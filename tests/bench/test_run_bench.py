"""DVC's processor time for a stage that runs, in `ddpipe run` and in `dvc repro`, by the number of stages in dvc.lock.

The stages are stand-ins whose own time is taken off. Ten stages of the grid run at once, as after a change of a number
of a method; loading the grid counts. Beside it what it costs to find that nothing is to do.
"""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.project import Project, clone
from tests.pipeline.stand_ins import ran, resize, stand_in

GOAL, STATUS = 1.0, 10.0  # seconds: of a stage that runs, of `dvc status`
TEN = [f"distill@dc-{data}-{ipc}" for data in ("fashionmnist", "cifar10", "cifar100") for ipc in (1, 10, 50)]
TEN += ["distill@dc-digits-1"]
ROWS = {115: 22, 570: 206, 1500: 671}  # rows of the grid that make about so many: the recipe of dc is the first

pytestmark = [pytest.mark.bench]


def seconds(project: Project, *command: str) -> float:
    """Processor time of a command and of all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = str(Path(sys.executable).parent / command[0])
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([program, *command[1:]], cwd=project.root, env=project.environment(), **streams)
    assert done.returncode == 0, done.stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def change(project: Project, revision: int) -> None:
    with project.recipe("dc") as recipe:
        recipe["dc"]["parts"]["revision"] = revision
    seconds(project, "ddpipe", "run", "resolve")
    assert ran(project) == ["resolve"]


@pytest.mark.parametrize("about", ROWS)
def test_time_of_a_stage(about: int, tmp_path: Path, table) -> None:
    project = clone(tmp_path / "project", tmp_path / "home", lambda project: resize(project, ROWS[about]))
    stand_in(project)
    every = seconds(project, "ddpipe", "run", "--jobs", "2")
    stages = len(ran(project))
    assert abs(stages - about) < about / 20
    project.commit("All of it")
    (project.root / "run.py").write_text(f"import os; os.environ['DVC_STAGE'] = {TEN[0]!r}; import stages.distill")
    own = seconds(project, "python", "run.py")
    ran(project)

    change(project, 101)
    mine = (seconds(project, "ddpipe", "run", *TEN) - 10 * own) / 10
    assert sorted(ran(project)) == sorted(TEN)
    change(project, 102)
    plain = (seconds(project, "dvc", "repro", *TEN) - 10 * own) / 10
    assert sorted(ran(project)) == sorted(TEN)
    seconds(project, "ddpipe", "run", "--jobs", "2")
    ran(project)
    table.append((f"{stages} stages in dvc.lock: one of ten that run", mine, plain, "s", mine / plain))
    idle, status = seconds(project, "ddpipe", "run"), seconds(project, "dvc", "status")
    assert ran(project) == []
    table.append((f"{stages} stages: nothing to do (plain: dvc status)", idle, status, "s", idle / status))
    table.append((f"{stages} stages: each of all, from nothing", every / stages - own, 0.0, "s", 0.0))
    assert mine <= GOAL and status <= STATUS
