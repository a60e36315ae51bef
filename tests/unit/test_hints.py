"""Hints with several numbers, and scores as targets: from the objective to the exported program."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ddpipe
from ddpipe import config
from ddpipe.config import load
from ddpipe.distillation.loop import Distillation
from ddpipe.errors import UserError
from ddpipe.files import hints
from ddpipe.files.artifacts import read_tensors
from ddpipe.objectives.distribution import DistributionMatching
from ddpipe.settings.protocols import records
from tests.unit.small_project import Project, reseal
from tests.unit.test_export import ALONE

CELL = "dm-tiny-1"
RATES, BLOCKS = torch.tensor([0.1, 0.4, 0.2, 0.3]), torch.tensor([0.0, 1.0, 1.0])
REPLAY = {"kind": "replay", "networks": 2}
SQUARED = {
    **{"steps": 5, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "batch": 2, "drop": "never", "augment": "none"},
    **{"networks": 2, "criterion": "squared-error"},
}
LEARNED = {key: value for key, value in SQUARED.items() if key not in ("lr", "networks")} | {"learned_lr": True}
RIDGE = {"kind": "ridge", "networks": 2, "regularisation": 0.001, "training": None}
Output = pytest.CaptureFixture[str]


def give(project: Project, monkeypatch: pytest.MonkeyPatch, given: dict[str, Tensor], **declared: str) -> None:
    """The objective of DM leaves the hints `given`, and its record declares others, or the same."""
    record = type(load(project.root).resolved(CELL).objective)  # type: ignore[union-attr]
    monkeypatch.setattr(record, "hints", declared)
    monkeypatch.setattr(record, "known", {"T": 4})
    monkeypatch.setattr(DistributionMatching, "hints", lambda self, synthetic: given)


@pytest.fixture
def stepped(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """DM as if it had learned a step size for each of four steps, and the order of its examples."""
    give(project, monkeypatch, {"lr": RATES, "blocks": BLOCKS}, lr="T", blocks="V")
    project.set("params.yaml", "protocols.replay", REPLAY)
    return project


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows stand without their baselines here: those are held in test_baselines.py."""
    monkeypatch.setattr("ddpipe.checks.project.baselines", lambda config: ())


def judged_by(project: Project, protocol: str, cell: str = CELL) -> Path:
    """The cell's own row is measured under `protocol`; where its result lies."""
    project.set(f"ddpipe/methods/{cell.partition('-')[0]}.yaml", f"grid.{cell}.protocol", protocol)
    return project.root / f"data/results/tiny/{cell}.small.{protocol}.json"


def exported(project: Project) -> tuple[dict[str, Any], str]:
    """about.json and README.md of the cell's export, whose program has run without ddpipe."""
    assert project.run("export", CELL, "out") == 0
    out = project.root / "out"
    script = (
        "import numpy as np; from safetensors.numpy import load_file; "
        "data = load_file('data/prepared/tiny/data.safetensors'); "
        "np.savez('TEST.npz', images=data['test_images'], labels=data['test_labels'])"
    )
    subprocess.run([sys.executable, "-c", script], cwd=project.root, check=True)
    command = [sys.executable, "-c", ALONE, out / "train.py", project.root / "TEST.npz"]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("of 2 networks")
    return json.loads((out / "about.json").read_bytes()), (out / "README.md").read_text("utf-8")


def test_hints_of_several_numbers_reach_the_user(stepped: Project, capsys: Output) -> None:
    result = judged_by(stepped, "replay")
    assert stepped.run("check") == 0
    capsys.readouterr()
    assert stepped.run("distill", CELL) == 0
    said = capsys.readouterr()
    assert f"{CELL} set 0: lr of 4 numbers from 0.1 to 0.4, blocks of 3 numbers from 0 to 1" in said.out + said.err
    chosen = ddpipe.load(stepped.root / "data/distilled" / CELL)
    assert torch.equal(chosen.hints["lr"], RATES) and torch.equal(chosen.hints["blocks"], BLOCKS)
    assert chosen.info["hints"] == {"lr": "T", "blocks": "V"}
    assert stepped.run("evaluate", CELL) == 0
    assert json.loads(result.read_text())["n"] == 2
    about, readme = exported(stepped)
    assert about["training"] == {"kind": "replay", "networks": 2, "criterion": "cross-entropy"}
    assert "`hint_lr`" in readme and "`hint_blocks`" in readme
    assert stepped.run("explain", CELL) == 0
    assert "hints beside the set\n  lr: numbers (T)\n  blocks: numbers (V)" in capsys.readouterr().out


def test_single_numbers_are_described_nowhere(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of sets that were made before hints had shapes stay as they are."""
    give(project, monkeypatch, {"lr": torch.tensor(0.1)}, **{"lr": "", "agreement?": ""})
    assert project.run("distill", CELL) == 0
    assert {"hints", "targets"}.isdisjoint(
        json.loads((project.root / f"data/distilled/{CELL}/distilled.json").read_text())
    )


@pytest.mark.parametrize(("least", "warned"), [(0.099, False), (0.1, True), (0.11, True)])
def test_a_hint_that_ended_at_its_floor_is_told(
    least: float, warned: bool, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """By the stage that learned it, also when it finds its sets ready, and by those that measure with it."""
    give(project, monkeypatch, {"lr": torch.tensor(0.1)}, lr="")
    record = type(load(project.root).resolved(CELL).objective)  # type: ignore[union-attr]
    monkeypatch.setattr(record, "floors", {"lr": "smallest"})
    monkeypatch.setattr(record, "smallest", least, raising=False)
    told = f"lr ended at the smallest that objective.smallest allows, {least:g}, and would have fallen further"
    for command, where in (
        ("distill", f"{CELL}, set 0"),
        ("distill", f"{CELL}, set 0"),
        ("evaluate", f"set 0 of {CELL}"),
    ):
        capsys.readouterr()
        assert project.run(command, CELL) == 0
        assert (f"warning: {where}: {told}" in capsys.readouterr().err) == warned


@pytest.mark.parametrize(
    ("given", "declared", "told"),
    [
        ({"lr": RATES}, {"lr": ""}, "hint.lr has the shape [4], not []"),
        ({"lr": torch.tensor(0.1)}, {"lr": "T"}, "hint.lr has the shape [], not [4]"),
        ({"lr": RATES[:3]}, {"lr": "T"}, "hint.lr has the shape [3], not [4]"),
        ({"blocks": RATES}, {"blocks": "V"}, "hint.blocks has the shape [4], not [3]"),
        ({"lr": RATES}, {}, "'hint.lr' is unknown"),
        ({}, {"lr": "T"}, "hint.lr is missing"),
        ({"lr": RATES.double()}, {"lr": "T"}, "hint.lr is float64, not float32"),
        ({"lr": RATES * float("nan")}, {"lr": "T"}, "hint.lr holds values that are no finite numbers"),
    ],
)
def test_other_hints_than_declared_are_refused_before_the_work(
    given: dict, declared: dict, told: str, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    give(project, monkeypatch, given, **declared)
    monkeypatch.setattr(Distillation, "advance", lambda self: pytest.fail("the work has begun"))
    before = project.outputs()
    capsys.readouterr()
    assert project.run("distill", CELL) == 2
    assert f"error: {CELL}, set 0: objective: {told}; its hints must be as its record" in capsys.readouterr().err
    assert project.outputs() == before


@pytest.mark.parametrize(
    ("protocol", "declared", "told"),
    [
        (REPLAY, {}, "'own' needs the hint lr (numbers (T)) of the set, but 'dm' leaves none"),
        (REPLAY, {"lr": ""}, "'own' needs the hint lr (numbers (T)) of the set, but 'dm' leaves one number"),
        (REPLAY, {"lr?": "T"}, "'own' needs the hint lr (numbers (T)) of the set, but 'dm' leaves none"),
        (
            REPLAY,
            {"lr": "T", "blocks": ""},
            "needs the hint blocks (numbers (V)) of the set, but 'dm' leaves one number",
        ),
        (
            LEARNED | {"networks": 2},
            {"lr": "T"},
            "the hint lr (one number) of the set, but 'dm' leaves num",
        ),
        (
            RIDGE | {"training": LEARNED},
            {},
            "the hint lr (one number)",
        ),
        (REPLAY, {"lr": "T"}, None),
        (REPLAY, {"lr": "T", "blocks?": "V"}, None),
        (RIDGE, {"lr": "T"}, None),
        (LEARNED | {"networks": 2}, {"lr": ""}, None),
    ],
)
def test_check_holds_what_a_protocol_requires_against_the_record(
    protocol: dict, declared: dict, told: str | None, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    give(project, monkeypatch, {}, **declared)
    project.set("params.yaml", "protocols.own", protocol)
    judged_by(project, "own")
    capsys.readouterr()
    assert project.run("check") == (2 if told else 0)
    found = capsys.readouterr().err
    if told:
        assert f"error: grid.{CELL}.protocol: " in found and told in found
        assert found.endswith("; name another protocol, for example 'again'\n")
        judged_by(project, "again")
        assert project.run("check") == 0, "the mend works"


@pytest.mark.parametrize(("rates", "told"), [([0.1, -0.2], "takes -0.2 from set 0"), ([0.0], "takes 0 from set 0")])
def test_step_sizes_that_cannot_be_used_are_refused(
    rates: list[float], told: str, stepped: Project, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    judged_by(stepped, "replay")
    give(stepped, monkeypatch, {"lr": torch.tensor(rates), "blocks": BLOCKS}, lr="N", blocks="V")
    assert stepped.run("distill", CELL) == 0
    capsys.readouterr()
    assert stepped.run("evaluate", CELL) == 2
    assert f"error: protocols.replay.kind: replay {told} of {CELL}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "protocol", [SQUARED, RIDGE, REPLAY | {"criterion": "squared-error"}], ids=["trained", "ridge", "replay"]
)
@pytest.mark.parametrize("scale", ["one-hot", "centred"])
def test_scores_through_every_kind_of_protocol(protocol: dict, scale: str, stepped: Project) -> None:
    stepped.set("params.yaml", "protocols.own", protocol)
    result = judged_by(stepped, "own")
    assert stepped.run("distill", CELL) == 0
    if scale == "centred":
        centre(stepped)
    assert stepped.run("evaluate", CELL) == 0
    assert json.loads(result.read_text())["n"] == 2
    about, readme = exported(stepped)
    assert about["targets"] == scale
    assert ddpipe.load(stepped.root / "data/distilled" / CELL).scale == scale
    assert "train.py" in readme


def centre(project: Project, cell: str = CELL) -> None:
    """As if the cell's targets had been learned as scores."""
    folder = project.root / "data/distilled" / cell
    tensors, _ = read_tensors(folder / "0.safetensors")
    scores = 2 * (tensors["targets"] - 1 / 3)
    reseal(folder, {"targets": "centred"}, set_0=tensors | {"targets": scores})


def test_scores_through_cross_entropy_are_refused(project: Project, capsys: Output) -> None:
    centre(project)
    project.set("params.yaml", "protocols.scored", SQUARED)
    before = project.outputs()
    capsys.readouterr()
    assert project.run("evaluate", CELL) == 2
    line = capsys.readouterr().err
    said = f"error: grid.{CELL}.protocol: 'quick' trains by cross-entropy, but set 0 of {CELL} leaves scores"
    assert line.startswith(said) and line.endswith("name another protocol, for example 'scored'\n")
    assert project.run("export", CELL, "out") == 2
    assert "'quick' trains by cross-entropy, but set 0 leaves scores" in capsys.readouterr().err
    assert project.outputs() == before


def test_check_refuses_scores_through_cross_entropy(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(type(load(project.root).resolved(CELL)), "scale", "centred")
    assert project.run("check") == 2
    said = "'quick' trains by cross-entropy, but 'dm' leaves scores (targets: centred), no distributions; add one"
    assert said in capsys.readouterr().err
    project.set("params.yaml", "protocols.scored", SQUARED)
    assert project.run("check") == 2
    assert "no distributions; name another protocol, for example 'scored'" in capsys.readouterr().err


def test_targets_that_are_no_distributions_must_be_said_to_be_scores(project: Project) -> None:
    folder = project.root / "data/distilled" / CELL
    centre(project)
    assert ddpipe.load(folder).scale == "centred"
    reseal(folder, {"targets": "one-hot"})
    with pytest.raises(UserError, match="targets are no distributions over the classes"):
        ddpipe.load(folder)


def test_hints_in_words() -> None:
    found = hints.told({"lr": torch.tensor(0.0123), "grid": torch.arange(6.0).view(2, 3)})
    assert found == "lr 0.0123, grid of 2 x 3 numbers from 0 to 5"
    assert hints.shapes({"lr": RATES, "momentum": torch.tensor(0.5)}) == {"lr": "N", "momentum": ""}


def test_an_unknown_kind_is_refused(project: Project) -> None:
    project.set("params.yaml", "protocols.replay", {"kind": "repaly", "networks": 2})
    with pytest.raises(UserError, match=f"^protocols.replay: kind must be one of {', '.join(sorted(records()))}$"):
        config.load(project.root)
