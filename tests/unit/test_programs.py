"""Code as a dependency: a change of mathematics redistils exactly the methods that use it, and nothing else does."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ddpipe import config
from ddpipe.pipeline import programs
from tests.tracked import TRACKED
from tests.unit.small_project import ROOT, Project

CODE = '''"""What it is."""
import os  # why
from pathlib import (
    Path,  # whence
)

X = 1  # one
TEXT = "# no comment"


def double(x: int) -> int:
    """Twice x.

    Really.
    """
    # a remark
    from math import (
        pi,
    )

    said = f"""{x}:

    {"# no comment": >10}{TEXT[0]!r}"""; "no docstring, but no code"
    return 2 * x if "ä" else b"""a

b"""  # done
'''
SAME = '''X = 1
TEXT = "# no comment"
def double(x: int) -> int:
    said = f"""{x}:

    {"# no comment": >10}{TEXT[0]!r}""";
    return 2 * x if "ä" else b"""a

b"""'''


def test_what_python_runs_is_told_from_what_people_read() -> None:
    """On every version of Python, of which some take f-strings apart."""
    assert programs.digest(CODE) == hashlib.sha256(SAME.encode()).hexdigest()


@pytest.mark.parametrize(
    "change", [("X = 1", "X = 2"), ("{x}:\n\n", "{x}:\n"), ("a\n\nb", "a\nb"), ("{x}:\n", "{x}: \n"), ('"ä"', '"a"')]
)
def test_a_change_of_what_runs_counts(change: tuple[str, str]) -> None:
    assert CODE.count(change[0]) == 1
    assert programs.digest(CODE.replace(*change)) != programs.digest(CODE)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program's text, to be changed."""
    shutil.copytree(ROOT / "ddpipe", tmp_path / "ddpipe", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(programs, "SOURCES", tmp_path)
    return tmp_path


PROJECT = config.load(TRACKED)
ROWS = list({row.method: row for row in PROJECT.rows.values()})
EXPERTS = {"experts"}
SELECT = {name for name in ROWS if name.partition("-")[0] in ("random", "herding", "kcenter", "whole")}
LEARN = set(ROWS) - SELECT
FOLLOW = {name for name in LEARN if name.partition("-")[0] in ("mtt", "tesla", "ftd", "haba")}
USERS = {
    "training/sweep.py": FOLLOW,
    "students/experts.py": FOLLOW,
    "objectives/trajectory.py": FOLLOW,
    "regularisers/contrast.py": {name for name in ROWS if name.startswith("haba")},
    "synthetic/hallucinator.py": {name for name in ROWS if name.startswith("haba") or "hallucinators" in name},
    "students/trained.py": {name for name in ROWS if name.partition("-")[0] in ("dc", "dsa")},
    "objectives/distribution.py": {name for name in ROWS if name.startswith("dm")},
    "distillation/average.py": {name for name in ROWS if name.startswith("ftd")},
    "distillation/loop.py": LEARN,
    "augmentation/siamese.py": LEARN | EXPERTS,
    "augmentation/composed.py": EXPERTS,
    "training/flatness.py": EXPERTS,
    "training/optimizers.py": LEARN | EXPERTS,
    "experts/training.py": {name for name in ROWS if name.startswith(("herding", "kcenter"))} | EXPERTS,
    "selections/herding.py": {name for name in ROWS if name.startswith("herding")},
    "selections/choice.py": SELECT,
    "networks/convnet.py": set(),
    "distillation/checkpoints.py": set(),
}


def changed(sources: Path, file: str, more: str) -> set[str]:
    """The programs in which `more` at the end of `file` shows."""
    before = programs.programs(PROJECT)
    with open(sources / "ddpipe" / file, "a") as stream:
        stream.write(more)
    after = programs.programs(PROJECT)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("file", USERS)
def test_a_module_belongs_to_those_who_use_it(file: str, sources: Path) -> None:
    assert changed(sources, file, "\n\n# a remark\nimport os\n") == set()
    assert changed(sources, file, "CHANGED = 1\n") == USERS[file]


def test_a_part_that_settings_name(project: Project) -> None:
    """An augmentation that only params.yaml brings in."""
    before = programs.programs(config.load(project.root))["dm"]
    project.set("params.yaml", "methods.dm", {"augment": "idc:color_flip"})
    after = programs.programs(config.load(project.root))["dm"]
    assert after.keys() - before.keys() == {"ddpipe/augmentation/composed.py"} and before.items() <= after.items()


def test_every_module_of_the_rooms_belongs_to_somebody() -> None:
    """A part that no method uses yet is read from its settings all the same; an __init__ may only pass names on."""
    found = programs.programs(PROJECT)
    used = {file for digests in found.values() for file in digests}
    rooms = [ROOT / "ddpipe" / room for room in programs.ROOMS]
    modules = [path for room in rooms for path in room.rglob("*.py") if path.name != "__init__.py"]
    left = {path.relative_to(ROOT).as_posix() for path in modules} - used
    others = {f"{module.replace('.', '/')}.py" for module in programs.OTHERS}
    assert left == others - {"ddpipe/augmentation.py"}


def test_dvc_runs_the_stage_where_what_it_reads_changed() -> None:
    stages = YAML(typ="safe").load(TRACKED / "dvc.yaml")["stages"]
    rooms = {f"ddpipe/{name}" for name in (*programs.ROOMS, "methods", "settings", "pipeline/programs.py")}
    assert set(stages["programs"]["deps"]) == rooms
    assert f"{programs.FOLDER}/${{item.method}}.json" in stages["distill"]["do"]["deps"]
    assert f"{programs.FOLDER}/{programs.EXPERTS}.json" in stages["experts"]["do"]["deps"]


def test_sets_are_made_by_the_code_that_dvc_records(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.run("programs") == 0
    files = {path.stem: json.loads(path.read_text()) for path in (project.root / "data/programs").iterdir()}
    assert files.keys() == {"dm", "dc", "random", "herding", "experts"}
    assert project.run("distill", "dm-tiny-1") == 0 and project.run("experts", "tiny") == 0
    for name, stage in (("dm", "distill dm-tiny-1"), ("experts", "experts tiny")):
        path = project.root / f"data/programs/{name}.json"
        path.write_text(path.read_text().replace('siamese.py": "', 'siamese.py": "0'))
        before = project.outputs()
        assert project.run(*stage.split()) == 2
        said = capsys.readouterr().err
        assert f"data/programs/{name}.json" in said and "(ddpipe/augmentation/siamese.py)" in said
        assert "run `python -m stages.programs`" in said and project.outputs() == before
        assert project.run("programs") == 0
        assert project.run(*stage.split()) == 0


def test_a_method_called_experts_is_refused(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.set("params.yaml", "methods.experts", {"base": "dm"})
    assert project.run("check") == 2
    assert "methods.experts: data/programs/experts.json is that of the stage experts" in capsys.readouterr().err


def test_one_network_distils_and_another_is_measured(project: Project) -> None:
    project.set("ddpipe/methods/dm.yaml", "grid.dm-tiny-1.network", "other")
    assert project.run("check") == 0
    assert project.run("distill", "dm-tiny-1") == 0
    set_of = project.outputs()["data/distilled/dm-tiny-1/0.safetensors"]
    about = json.loads((project.root / "data/distilled/dm-tiny-1/distilled.json").read_text())
    assert about["network"] == "small"
    assert project.run("evaluate", "dm-tiny-1") == 0
    result = json.loads((project.root / "data/results/tiny/dm-tiny-1.other.quick.json").read_text())
    assert result["network"] == "other"
    project.set("params.yaml", "networks.other.width", 8)  # no matter to the set
    assert project.run("distill", "dm-tiny-1") == 0
    assert project.outputs()["data/distilled/dm-tiny-1/0.safetensors"] == set_of
    project.set("ddpipe/methods/dm.yaml", "grid.dm-tiny-1.student", "other")
    assert project.run("distill", "dm-tiny-1") == 0
    assert project.outputs()["data/distilled/dm-tiny-1/0.safetensors"] != set_of
