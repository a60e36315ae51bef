"""`ddpipe plan` against what `dvc repro` then does."""

import shutil
import subprocess

import pytest
import torch

from ddpipe import config
from ddpipe.cli import grid
from ddpipe.errors import UserError
from ddpipe.files.artifacts import write_tensors
from ddpipe.pipeline import programs
from ddpipe.planning.calibration import FILE
from ddpipe.planning.show import states
from ddpipe.planning.steps import AFTER, CACHED, RUNS, UP_TO_DATE, Step, plan
from tests.pipeline.project import CELLS, NEVER_RUN, Project, cell_stages, folder_bytes

DM = ("dm-digits-1", "dm-digits-10")
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # a library of DVC warns DVC
ALL = {"prepare@digits", "experts@digits", *cell_stages(*CELLS), "report@digits"}


@pytest.fixture(autouse=True)
def inside(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the project's folder, as a user of DVC is, with the user files that its own runs have."""
    monkeypatch.chdir(project.root)
    for name in ("HOME", "DVC_SITE_CACHE_DIR"):
        monkeypatch.setenv(name, project.environment()[name])


def planned(project: Project, target: str = "digits") -> dict[str, set[str]]:
    """Names of the stages by state, but for `resolve`, which runs for a second."""
    steps = [step for step in plan(config.load(project.root), target) if step.name != "resolve"]
    return {state: {s.name for s in steps if s.state == state} for state in (UP_TO_DATE, CACHED, RUNS, AFTER)}


def reasons(project: Project, name: str) -> str:
    [step] = [step for step in plan(config.load(project.root), name) if step.name == name]
    return "; ".join(step.reasons)


def test_nothing_to_do(project: Project) -> None:
    before = folder_bytes(project.root / "data"), (project.root / "dvc.lock").read_bytes()
    assert planned(project) == {UP_TO_DATE: ALL, CACHED: set(), RUNS: set(), AFTER: set()}
    assert (folder_bytes(project.root / "data"), (project.root / "dvc.lock").read_bytes()) == before


def test_a_changed_number_and_its_way_back(project: Project) -> None:
    with project.params() as params:
        params["methods"]["dm"] = {"iterations": 3}
    found = planned(project)
    assert found[RUNS] == {f"distill@{cell}" for cell in DM}
    assert found[AFTER] == {*(f"evaluate@{cell}" for cell in DM), "report@digits"}
    assert "settings.iterations: 2 -> 3" in reasons(project, "distill@dm-digits-1")
    assert "after distill@dm-digits-1" in reasons(project, "evaluate@dm-digits-1")
    assert project.repro("report@digits").ran == found[RUNS] | found[AFTER]
    assert planned(project)[UP_TO_DATE] == ALL
    with project.params() as params:
        params["methods"]["dm"] = {}
    found = planned(project)
    assert found[CACHED] == {f"distill@{cell}" for cell in DM} and not found[RUNS]
    done = project.repro("report@digits")
    assert done.restored == found[CACHED] and done.ran <= found[AFTER]


def test_changed_code(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the code of each method will be is known without running `resolve`."""
    code = project.root / "ddpipe/objectives/gradient.py"
    monkeypatch.setattr(programs, "SOURCES", project.root)
    code.write_text(code.read_text() + "# a remark\n")
    assert planned(project)[UP_TO_DATE] == ALL and "gradient" not in reasons(project, "distill@dc-digits-1")
    assert reasons(project, "resolve") == "ddpipe/objectives modified"
    code.write_text(code.read_text() + "CHANGED = 1\n")
    found = planned(project)
    assert found[RUNS] == {"distill@dc-digits-1"} and found[AFTER] == {"evaluate@dc-digits-1", "report@digits"}
    assert reasons(project, "distill@dc-digits-1").endswith("ddpipe/objectives/gradient.py")
    shutil.rmtree(project.root / "data/resolved")
    assert planned(project)[RUNS] == {"distill@dc-digits-1"}


def test_a_workspace_without_data(project: Project) -> None:
    for name in ("resolved", "prepared", "experts", "distilled"):
        shutil.rmtree(project.root / "data" / name)
    found = planned(project)
    assert not found[RUNS] and not found[AFTER]
    assert found[CACHED] == {"prepare@digits", "experts@digits", *(f"distill@{cell}" for cell in CELLS)}
    done = project.repro("report@digits")
    assert done.restored == found[CACHED] and not done.ran


def test_neither_data_nor_cache(project: Project) -> None:
    shutil.rmtree(project.root / ".dvc" / "cache")
    for name in ("resolved", "prepared", "experts", "distilled"):
        shutil.rmtree(project.root / "data" / name)
    found = planned(project)
    assert found[RUNS] == {"prepare@digits"} and found[AFTER] == ALL - found[RUNS]
    assert "dvc pull --allow-missing" in reasons(project, "prepare@digits")


def test_a_new_row_and_its_resolved_files_are_not_there(project: Project) -> None:
    words = {"dataset": "digits", "data": "digits", "network": "convnet2_w16", "protocol": "short"}
    with project.params() as params:
        params["grid"] = {"dm-digits-3": words | {"needs": "data/prepared/digits"}}
        params["methods"]["dm"] = {"iterations": 2, "sets": 1}
    found = planned(project, "dm-digits-3")
    assert (found[RUNS], found[AFTER]) == ({"distill@dm-digits-3"}, {"evaluate@dm-digits-3"})
    project.repro("evaluate@dm-digits-3")
    assert not planned(project, "dm-digits-3")[RUNS]


def test_targets(project: Project) -> None:
    cell = planned(project, NEVER_RUN)
    assert cell[RUNS] == {"prepare@mnist"} and cell[AFTER] == cell_stages(NEVER_RUN)
    assert planned(project, "distill@dm-digits-1")[UP_TO_DATE] == {"prepare@digits", "distill@dm-digits-1"}
    whole = {step.name: step.state for step in plan(config.load(project.root))}
    assert {name for name, state in whole.items() if state == UP_TO_DATE} - {"resolve"} == ALL
    assert whole["page"] in (RUNS, AFTER)
    with pytest.raises(UserError, match="no stage, dataset or cell 'dm-digits-2'; did you mean 'dm-digits-1'?"):
        plan(config.load(project.root), "dm-digits-2")


def test_an_unfinished_run_is_named(project: Project) -> None:
    with project.params() as params:
        params["methods"]["dm"] = {"iterations": 30}
    folder = project.root / "data/checkpoints/distill/dm-digits-1"
    shutil.rmtree(folder, ignore_errors=True)
    write_tensors(folder / "set-0.safetensors", {})
    write_tensors(folder / "set-1.partial.safetensors", {"iteration": torch.tensor(17)})
    found = config.load(project.root)
    text = states(found, plan(found, "dm-digits-1"))
    assert "checkpoint: 1 finished, set-1 at iteration 17, used if its inputs are the same" in " ".join(text.split())


def test_show_keeps_stages_with_the_same_reasons_together(project: Project) -> None:
    steps = [Step(f"distill@dm-other-{n}", RUNS, ("never ran",)) for n in (1, 10)] + [Step("page", UP_TO_DATE)]
    assert states(config.load(project.root), steps).splitlines() == [
        "up to date (nothing to do): 1 stage",
        "runs (is computed): 2 stages, 2 of them distil",
        "  distill@dm-other-1 distill@dm-other-10",
        "      never ran",
    ]


def test_the_command(project: Project) -> None:
    text = project.call("python", "-m", "ddpipe.cli", "plan", "digits")
    assert "up to date (nothing to do)" in text and "cost" not in text
    done = subprocess.run(
        ["python", "-m", "ddpipe.cli", "plan", "digit"],
        **{"cwd": project.root, "env": project.environment(), "capture_output": True, "text": True},
    )
    assert done.returncode == 2 and done.stderr.startswith(
        "error: no stage, dataset or cell 'digit'; did you mean 'digits'?"
    )


def test_what_would_run_is_measured_once_and_costed(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def command(calibration: bool) -> tuple[str, str]:
        """The cost that the command prints, and what it says beside."""
        grid.plan(["dm-digits-1"], calibration)
        out, beside = capsys.readouterr()
        return out[out.index("cost of what would run, on CPU") :], beside

    with project.params() as params:
        params["methods"]["dm"] = {"iterations": 3000}
    unknown, beside = command(False)
    assert "not calibrated, and left out of the times: 2 stages" in unknown and "calibrating" not in beside
    assert not (project.root / FILE).exists()
    first, beside = command(True)
    assert "calibrating: " in beside and "not calibrated" not in first
    assert command(False) == (first, "")
    assert [line.split()[:2] for line in first.splitlines()[2:5]] == [
        *(["distill", "1"], ["evaluate", "1"], ["total", "2"])
    ]
    assert "most expensive: distill@dm-digits-1 " in first  # 3,000 iterations against two passes of one network


def test_everything_is_summed_up_by_method_and_dataset(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with project.params() as params:
        params["methods"]["dm"] = {"iterations": 3}
    grid.plan([], calibration=False)
    text = capsys.readouterr().out
    assert "distill@" not in text  # counts alone: the whole grid has hundreds of stages
    lines = [line.split() for line in text.splitlines()]
    assert ["digits", "mnist", "total"] in lines and ["dm", "-", "-", "-"] in lines
