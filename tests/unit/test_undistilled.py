"""iterations: 0, the set as it begins: the baseline that a method has to beat under its own evaluation."""

import json

import torch

from ddpipe.files.artifacts import read_tensors
from tests.unit.small_project import Project


def test_the_set_as_it_begins_is_evaluated_and_shown_as_any_other(project: Project, capsys) -> None:
    project.set("params.yaml", "methods.dc", {"iterations": 0, "synthetic": {"init": "real"}})
    project.set("params.yaml", "run.checkpoint_every", 5)
    for stage in ("check", "resolve", "distill dc-tiny-1", "evaluate dc-tiny-1", "report tiny"):
        assert project.run(*stage.split()) == 0, capsys.readouterr().err
    tensors, _ = read_tensors(project.root / "data/distilled/dc-tiny-1/0.safetensors")
    (prepared, _) = read_tensors(project.root / "data/prepared/tiny/data.safetensors")
    assert "loss" not in tensors
    (fitted, _) = read_tensors(project.root / "data/distilled/dc-tiny-1/preprocessing.safetensors")
    real = prepared["train_images"] * fitted["scale"] + fitted["shift"]
    for image in tensors["images"]:
        assert any(torch.allclose(image, other, atol=1e-5) for other in real)
    result = json.loads((project.root / "data/results/tiny/dc-tiny-1.small.quick.json").read_text())
    assert result["n"] == 1
    curve = (project.root / "data/results/tiny/dc-tiny-1.loss.csv").read_text()
    assert curve == "set,iteration,loss\n"


def test_it_costs_no_step(project: Project) -> None:
    from ddpipe import config
    from ddpipe.planning import work
    from ddpipe.planning.shapes import Data, Shape
    from ddpipe.settings.work import Cell
    from tests.counted import images

    project.set("params.yaml", "methods.dc", {"iterations": 0})
    found = config.load(project.root)
    cell = Cell(found.resolved("dc-tiny-1"), Data(Shape(1, 8, 3), 29, 12), 1, found.network("small"))
    for every in (0, 5):
        done = work.distillation(cell, every)
        assert images(done, "matching") == images(done, "weight gradient") == images(done, "step") == 0
