"""Code as a dependency: a change of mathematics redistils exactly the methods that use it, and nothing else does."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ddpipe import config, settings
from ddpipe.pipeline import programs, resolved
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


BY_FILE = {  # what the stages of the grid depend on
    "experts": "experts/${key}",
    "generators": "generators/${key}",
    "distill": "distill/${key}",
    "evaluate": "evaluate/${key}.${item.network}.${item.protocol}",
    "further": "evaluate/${item.cell}.${item.network}.${item.protocol}",
    "course": "course/${key}",
}
PROJECT = config.load(TRACKED)
CELLS = [(row.method, chosen) for _, row, chosen in PROJECT.cells()]
ROWS = list({row.method: row for row in PROJECT.rows.values()})
EXPERTS, GENERATORS = {"experts"}, {"generators"}
SELECT = {name for name in ROWS if name.partition("-")[0] in ("random", "herding", "kcenter", "whole")}
LEARN = set(ROWS) - SELECT
OBJECTIVE = {row.method: chosen.objective.name for _, row, chosen in PROJECT.cells() if chosen.kind == "distillation"}
FOLLOW = {name for name in LEARN if OBJECTIVE[name] == "trajectory"}
FORMED = {name for name in LEARN if name.partition("-")[0] in ("idc", "accdd")}
TRAINED = {name for name, chosen in CELLS if chosen.kind == "distillation" and chosen.students.name == "trained"}
WARMED = {name for name, chosen in CELLS if getattr(chosen, "warm", None)}
DECODED = {name for name in ROWS if name.startswith("itgan")}
USERS = {
    "training/sweep.py": FOLLOW | {name for name in LEARN if OBJECTIVE[name] == "unroll"},
    "students/experts.py": FOLLOW,
    "objectives/trajectory.py": FOLLOW,
    "regularisers/contrast.py": {name for name in ROWS if name.startswith("haba")} | {"itgan", "itgan-inversion"},
    "regularisers/partners.py": {"itgan", "itgan-inversion"},
    "synthetic/latents.py": DECODED,
    "generators/decoding.py": DECODED | GENERATORS,
    "generators/networks.py": GENERATORS,
    "generators/inversion.py": GENERATORS,
    "generators/stored.py": set(),
    "synthetic/hallucinator.py": {name for name in ROWS if name.startswith("haba") or "hallucinators" in name},
    "students/trained.py": TRAINED,
    "students/early.py": TRAINED,
    "synthetic/multiformation.py": FORMED,
    # CAFE takes its class means
    "objectives/distribution.py": {name for name in ROWS if name.partition("-")[0] in ("dm", "cafe", "itgan")} | WARMED,
    "objectives/features.py": {name for name in ROWS if name.startswith("cafe")},
    "distillation/average.py": {name for name in ROWS if name.startswith("ftd")},
    "distillation/warm.py": WARMED,
    "distillation/snapshots.py": {PROJECT.rows[cell].method for cell in PROJECT.courses},
    "objectives/reconstruction.py": {name for name in ROWS if name.startswith("kfs")},
    "synthetic/decoder.py": {name for name in ROWS if name.startswith("kfs")},
    "distillation/loop.py": {name for name in LEARN if not {"mix", "inversion", "samples"} & set(name.split("-"))},
    "augmentation/siamese.py": LEARN | EXPERTS | GENERATORS,
    "augmentation/composed.py": FORMED | EXPERTS,
    "training/flatness.py": EXPERTS,
    "training/optimizers.py": LEARN | EXPERTS | GENERATORS,
    "experts/training.py": {name for name in ROWS if name.startswith(("herding", "kcenter"))} | EXPERTS,
    "selections/herding.py": {name for name in ROWS if name.startswith("herding")},
    "selections/choice.py": SELECT,
    "networks/convnet.py": set(),
    "distillation/checkpoints.py": set(),
}


def found(cells: list[tuple[str, settings.Cell]]) -> dict[str, programs.Digests]:
    """The mathematics of every method with rows, of experts and of generators."""
    code = {"experts": programs.of_experts(), "generators": programs.of_generators()}
    known = {}  # cells of different numbers may have the same parts
    for method, chosen in cells:
        kept = bool(getattr(chosen, "snapshots", ()))
        asked = (*programs.implementations(chosen), bool(chosen.steps), chosen.embedded, kept)
        known[asked] = known[asked] if asked in known else programs.of_cell(chosen)
        code.setdefault(method, {}).update(known[asked])
    return code


def cells_of(project: Project) -> list[tuple[str, settings.Cell]]:
    return [(row.method, chosen) for _, row, chosen in config.load(project.root).cells()]


def changed(sources: Path, file: str, more: str) -> set[str]:
    """The programs in which `more` at the end of `file` shows."""
    before = found(CELLS)
    with open(sources / "ddpipe" / file, "a") as stream:
        stream.write(more)
    after = found(CELLS)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("file", USERS)
def test_a_module_belongs_to_those_who_use_it(file: str, sources: Path) -> None:
    assert changed(sources, file, "\n\n# a remark\nimport os\n") == set()
    assert changed(sources, file, "CHANGED = 1\n") == USERS[file]


def test_a_part_that_settings_name(project: Project) -> None:
    """An augmentation that only params.yaml brings in."""
    before = found(cells_of(project))["dm"]
    project.set("params.yaml", "methods.dm", {"augment": "idc:color_flip"})
    after = found(cells_of(project))["dm"]
    assert after.keys() - before.keys() == {"ddpipe/augmentation/composed.py"} and before.items() <= after.items()


def test_every_module_of_the_rooms_belongs_to_somebody() -> None:
    """A part that no method uses yet is read from its settings all the same; an __init__ may only pass names on."""
    used = {file for digests in found(CELLS).values() for file in digests}
    used |= {file for prefix in programs.MODULES for file in programs.of_experts(prefix)}  # any may be chosen
    rooms = [ROOT / "ddpipe" / room for room in programs.ROOMS]
    modules = [path for room in rooms for path in room.rglob("*.py") if path.name != "__init__.py"]
    left = {path.relative_to(ROOT).as_posix() for path in modules} - used
    others = {f"{module.replace('.', '/')}.py" for module in programs.OTHERS}
    assert left == others - {"ddpipe/augmentation.py"}


def test_dvc_runs_the_stage_where_what_it_reads_changed() -> None:
    stages = YAML(typ="safe").load(TRACKED / "dvc.yaml")["stages"]
    files = {"config.py", "methods", "settings", "pipeline/programs.py", "pipeline/resolved.py"}
    assert set(stages["resolve"]["deps"]) == {f"ddpipe/{name}" for name in files.union(programs.ROOMS)}
    tables = {"grid", "evaluations", "experts", "generators", "methods", "networks", "protocols", "courses"}
    assert set(stages["resolve"]["params"]) == tables | {"seed"}
    asked = {stage: {dep for dep in stages[stage]["do"]["deps"] if "resolved" in dep} for stage in BY_FILE}
    assert asked == {stage: {f"{resolved.FOLDER}/{name}.json"} for stage, name in BY_FILE.items()}
    assert not any("params" in stages[stage]["do"] for stage in BY_FILE)


def test_a_file_says_what_its_stage_reads(project: Project) -> None:
    """Every number counts for exactly those who read it."""

    def change(file: str, key: str, value: Any) -> set[str]:
        """The files that say something else after it."""
        before = dict(resolved.everything(config.load(project.root)))
        project.set(file, key, value)
        after = dict(resolved.everything(config.load(project.root)))
        assert before.keys() == after.keys()
        return {name for name in before if before[name] != after[name]}

    cells = {"dm-tiny-1", "dc-tiny-1", "random-tiny-1", "herding-tiny-1"}
    assert change("params.yaml", "run.threads", 2) == set()
    assert change("ddpipe/methods/dm.yaml", "dm.paper", "Another paper") == set()
    assert change("ddpipe/methods/dm.yaml", "dm.cells.default", {"iterations": 5}) == set()
    assert change("ddpipe/methods/dm.yaml", "dm.cells.tiny-1", {"iterations": 5}) == {"distill/dm-tiny-1"}
    assert change("params.yaml", "methods.dc", {"iterations": 5}) == {"distill/dc-tiny-1"}
    assert change("params.yaml", "experts.tiny.networks", 2) == {"experts/tiny"}
    measured = {f"evaluate/{cell}.small.quick" for cell in cells}
    assert change("params.yaml", "protocols.quick.networks", 3) == {*measured, "course/dc-tiny-1"}
    further = {f"evaluate/{cell}.other.again" for cell in cells - {"dc-tiny-1"}}
    assert change("params.yaml", "protocols.again.networks", 3) == further
    kept = {"distill/dc-tiny-1", "course/dc-tiny-1"}
    assert change("params.yaml", "courses.dc-tiny-1.snapshots", [0, 2]) == kept
    assert change("params.yaml", "courses.dc-tiny-1.networks", 2) == {"course/dc-tiny-1"}
    assert change("params.yaml", "generators.tiny.steps", 4) == {"generators/tiny"}
    everything = {
        "experts/tiny",
        "generators/tiny",
        *further,
        "course/dc-tiny-1",
        *measured,
        *(f"distill/{cell}" for cell in cells),
    }
    assert change("params.yaml", "seed", 1) == everything
    other = {"generators/tiny", *further}  # a generator sees the network through its experts
    assert change("params.yaml", "networks.small.width", 3) == everything - other


def test_a_row_that_does_not_resolve_is_told_by_its_own_stage(project: Project, capsys: pytest.CaptureFixture) -> None:
    project.set("ddpipe/methods/dm.yaml", "grid.dm-tiny-1.cell", "tiny-2")
    assert project.run("resolve") == 0
    said = json.loads((project.root / "data/resolved/distill/dm-tiny-1.json").read_text())
    assert said.keys() == {"error"} and "tiny-2" in said["error"]
    assert project.run("distill", "dm-tiny-1") == 2 and said["error"] in capsys.readouterr().err
    assert project.run("distill", "random-tiny-1") == 0


def test_what_is_made_has_the_numbers_and_the_code_that_dvc_records(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.run("resolve") == 0
    for stage in ("distill dm-tiny-1", "experts tiny", "evaluate dm-tiny-1"):
        assert project.run(*stage.split()) == 0
    number = ('"seed": 0', '"seed": 1', "seed: 1 -> 0")
    code = ('siamese.py": "', 'siamese.py": "0', "ddpipe/augmentation/siamese.py")
    for name, stage, (old, new, told) in (
        *(("distill/dm-tiny-1", "distill dm-tiny-1", change) for change in (code, number)),
        *(("experts/tiny", "experts tiny", change) for change in (code, number)),
        ("evaluate/dm-tiny-1.small.quick", "evaluate dm-tiny-1", number),
    ):
        path = project.root / f"data/resolved/{name}.json"
        path.write_text(path.read_text().replace(old, new))
        before = project.outputs()
        assert project.run(*stage.split()) == 2
        said = capsys.readouterr().err
        assert f"data/resolved/{name}.json" in said and f"({told})" in said
        assert "run `python -m stages.resolve`" in said and project.outputs() == before
        assert project.run("resolve") == 0
        assert project.run(*stage.split()) == 0


def test_who_edits_while_it_resolves_is_heard(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC takes down what params.yaml says when the command has ended."""
    from stages import resolve

    def edited(files: dict[str, resolved.Resolved]) -> None:
        write(files)
        if files["distill/dm-tiny-1"]["settings"]["iterations"] == 3:
            project.set("params.yaml", "methods.dm", {"iterations": 5})

    write = resolve.write
    monkeypatch.setattr(resolve, "write", edited)
    assert project.run("resolve") == 0
    said = json.loads((project.root / "data/resolved/distill/dm-tiny-1.json").read_text())
    assert said["settings"]["iterations"] == 5


def test_one_network_distils_and_another_is_measured(project: Project) -> None:
    project.set("ddpipe/methods/dm.yaml", "grid.dm-tiny-1.network", "other")
    assert project.run("add", "random,herding", "tiny", "--ipc", "1", "--network", "other") == 0
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
