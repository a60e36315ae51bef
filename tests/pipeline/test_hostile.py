"""Files that want to run commands or leave the project: real `dvc repro` on them runs nothing and removes nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.pipeline.project import Project, clone, folder_bytes
from tests.tracked import TRACKED

RUN = "echo >marker; cd ..; echo >marker"
KEYS = (
    f"$({RUN})",
    f"`{RUN}`",
    f"x; {RUN}",
    f"' ; {RUN}; '",
    f'" ; {RUN}; "',
    f"x\n{RUN}\n",
    "--help",
    "$HOME",
    "*",
)
RECORDER = f"""#!{sys.executable}
import json, sys
with open("../commands", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
sys.exit(2)
"""


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """A clone in which nothing ran, with files beside it."""
    project = clone(tmp_path / "project", tmp_path / "home")
    (tmp_path / "outside/kept").mkdir(parents=True)
    (tmp_path / "outside/kept/photo.png").write_text("mine")
    return project


def refused(project: Project, *targets: str, path: str = "") -> str:
    """What `dvc repro` says. It fails; the project's own files and those beside it are as before, and none is new."""
    beside = project.root.parent
    kept = {folder: folder_bytes(folder) for folder in (beside / "outside", project.root / "stages")}
    environment = project.environment()
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dvc"), "repro", *targets],
        **{"cwd": project.root, "env": environment | {"PATH": path + environment["PATH"]}, "text": True},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT},
    )
    assert done.returncode != 0, done.stdout
    assert not list(beside.rglob("marker")), done.stdout
    assert {folder: folder_bytes(folder) for folder in kept} == kept, done.stdout
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def test_a_key_is_no_command(fresh: Project) -> None:
    """A report's stage depends on no other one. The shell reads the words of dvc.yaml, python the key as a word."""
    tools = fresh.root.parent / "tools"
    tools.mkdir()
    (tools / "python").write_text(RECORDER)
    (tools / "python").chmod(0o755)
    with fresh.params() as params:
        params["reports"] = {key: {} for key in KEYS}
    for key in KEYS:
        (fresh.root / "data/results" / key).mkdir(parents=True, exist_ok=True)
    refused(fresh, "--keep-going", "report", path=f"{tools}:")
    commands = [json.loads(line) for line in (fresh.root.parent / "commands").read_text().splitlines()]
    assert sorted(commands) == sorted(["-m", "stages.report", f"report@{key}"] for key in KEYS)


def test_no_command_is_put_together() -> None:
    with open(TRACKED / "dvc.yaml") as file:
        stages = YAML(typ="safe").load(file)["stages"]
    commands = {name: stage.get("do", stage)["cmd"] for name, stage in stages.items()}
    assert len(commands) == 11
    for name, command in commands.items():
        assert "${" not in command, name


def report_of(fresh: Project, key: str) -> str:
    with fresh.params() as params:
        params["reports"] = {key: {}}
    (fresh.root / "data/results" / key).mkdir(parents=True, exist_ok=True)
    return refused(fresh, "report")


def test_a_hostile_key_is_refused_by_its_stage(fresh: Project) -> None:
    key = f"$({RUN})"
    assert f"error: reports.{key}: '{key}' is no name: " in report_of(fresh, key)


@pytest.mark.parametrize("key", ["../../outside/kept", "../stages"])  # from reports/
def test_a_key_that_leads_elsewhere_is_refused_by_dvc(key: str, fresh: Project) -> None:
    """Before a command runs or an output is removed: what a report reads and its means would lie at one place."""
    assert "defined as both a dependency and an output" in report_of(fresh, key)


@pytest.mark.parametrize(("field", "value"), [("ipc", f"1; {RUN}"), ("dataset", "../../../outside/kept")])
def test_a_hostile_recipe_is_refused_by_the_first_command(field: str, value: str, fresh: Project) -> None:
    with fresh.recipe("dm") as recipe:
        recipe["grid"]["dm-digits-1"][field] = value
    said = refused(fresh, "evaluate@dm-digits-1")
    assert f"error: ddpipe/methods/dm.yaml:grid.dm-digits-1.{field}: " in said
    assert said.count("Running stage") == 1
