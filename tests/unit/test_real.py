"""Real images as a set: the same in all cells, learned labels or none, measured and exported like any set."""

import json

import torch

import ddpipe
from ddpipe import config
from tests.tracked import TRACKED
from tests.unit.small_project import Project

ADAM = {"optimizer": "adam", "lr": 0.01, "betas": [0.9, 0.999]}
LD = {
    "synthetic": {"name": "real"},
    "objective": {"name": "lookahead", "batch": 16, "subset": 2, "lr": 0.01},
    "students": {"name": "restarted", **ADAM, "patience": 1},
    "augment": "none",
    "real_batch": None,
    "iterations": 12,
    "sets": 2,
}
LEARNED = {
    "labels": {"scale": "one-hot", "learned": True, "init": "uniform"},
    "outer": {"images": None, "targets": ADAM},
}
HARD = {"labels": {"scale": "one-hot", "learned": False, "init": "hard"}, "outer": {"images": None}}


def test_learned_and_one_hot_labels_stand_for_the_same_images(project: Project) -> None:
    project.set("params.yaml", "methods.dm", LD | LEARNED)
    project.set("params.yaml", "methods.dc", LD | HARD)
    assert project.run("distill", "dm-tiny-1") == 0 and project.run("distill", "dc-tiny-1") == 0
    folder = project.root / "data/distilled"
    pairs = [[ddpipe.load(folder / f"{method}-tiny-1", number) for method in ("dm", "dc")] for number in range(2)]
    for learned, hard in pairs:
        assert torch.equal(learned.images, hard.images)
        assert torch.equal(hard.targets, torch.eye(3)) and not torch.equal(learned.targets, hard.targets)
        torch.testing.assert_close(learned.targets.sum(1), torch.ones(3))
        assert float(learned.hints["steps"]) >= 1 and float(hard.hints["steps"]) >= 1
    assert not torch.equal(pairs[0][0].images, pairs[1][0].images), "another set has others"


def test_they_are_measured_and_exported_as_long_as_was_learned(project: Project) -> None:
    project.set("params.yaml", "methods.dm", LD | HARD)
    rules = {"learned_steps": True, "subsets": True, **ADAM, "weight_decay": 0.0, "batch": 2, "drop": "never"}
    project.set("params.yaml", "protocols.quick", rules | {"augment": "none", "networks": 2})
    for command in ("distill", "evaluate", "export"):
        assert project.run(command, "dm-tiny-1", *(["out"] if command == "export" else [])) == 0
    about = json.loads((project.root / "out/about.json").read_text(encoding="utf-8"))["training"]
    steps = float(ddpipe.load(project.root / "data/distilled/dm-tiny-1").hints["steps"])
    assert about["passes"] == steps and about["single"] and about["subsets"] and about["learned_steps"]
    result = json.loads((project.root / "data/results/tiny/dm-tiny-1.small.quick.json").read_bytes())
    assert [len(row) for row in result["accuracies"]] == [2, 2]
    chosen = ddpipe.load(project.root / "data/distilled/dm-tiny-1")
    assert len(chosen.rates()) == steps and set(chosen.rates()) == {0.01}


def test_a_method_that_learns_how_to_train_on_real_images_distils_nothing() -> None:
    found = config.load(TRACKED)
    said = {cell: found.resolved(cell).distils for cell in found.rows if found.rows[cell].dataset == "digits"}
    assert not any(
        said[cell] for cell in said if "-undistilled" in cell or "-hard" in cell or cell.startswith("random")
    )
    assert all(said[cell] for cell in ("dm-digits-1", "ld-digits-1", "gtn-digits-16", "rtp-digits-1"))
