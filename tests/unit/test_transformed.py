"""RFAD's pixels times a matrix: what is handed over, what is counted, and where that is said."""

from pathlib import Path

import pytest
import torch

from ddpipe.distilled.sets import Distilled
from ddpipe.files.artifacts import read_json
from ddpipe.randomness import generator
from ddpipe.settings.part import records
from ddpipe.settings.shapes import Shape
from ddpipe.synthetic.transformed import Transformed
from tests.unit.small_project import Project

Output = pytest.CaptureFixture[str]

PARTS = {
    "synthetic": {"name": "transformed", "init": "real"},
    "outer": {"images": {"lr": 0.1, "momentum": 0.5}, "transform": {"lr": 0.1, "momentum": 0.5}},
}


def made() -> Transformed:
    images = torch.randn(4, 2, 3, 3, generator=generator("transformed"))
    return Transformed(images, torch.arange(2).repeat_interleave(2), 2)


def test_it_begins_as_its_images_and_shows_their_products() -> None:
    synthetic = made()
    assert torch.equal(synthetic.decode().images, synthetic.images)
    with torch.no_grad():
        synthetic.transform.copy_(torch.randn(18, 18, generator=generator("matrix")))
    for row, image in enumerate(synthetic.decode().images.detach()):
        flat = [sum(synthetic.images[row].flatten() * column).detach() for column in synthetic.transform.T]
        torch.testing.assert_close(image.flatten(), torch.stack(flat))
    assert torch.equal(synthetic.codes()["images"], synthetic.decode().images)


def test_the_matrix_is_counted_apart() -> None:
    shape = Shape(2, 3, 2)
    record = records("synthetic")["transformed"].model_validate({"name": "transformed"})
    synthetic = made()
    assert synthetic.stored_floats() == record.floats(shape, 2) == synthetic.images.numel()
    assert record.apart(shape) == synthetic.transform.numel() == 18**2


def test_that_it_was_learned_apart_is_said(project: Project, capsys: Output) -> None:
    project.run("prepare", "tiny")
    project.set("params.yaml", "methods.dm", PARTS)
    capsys.readouterr()
    assert project.run("explain", "dm-tiny-1") == 0
    assert "4096 numbers of synthetic 'transformed', of no budget: the set is complete without them" in (
        capsys.readouterr().out
    )
    assert project.run("resolve") == project.run("distill", "dm-tiny-1") == 0
    folder: Path = project.root / "data/distilled/dm-tiny-1"
    assert read_json(folder / "distilled.json")["budget"] == {"floats": 192, "images_per_class": 1.0, "apart": 64**2}
    tensors = Distilled.open(folder).tensors(0)
    assert tensors.keys() == {"images", "targets", "loss"} and tensors["images"].shape == (3, 1, 8, 8)
    project.set("params.yaml", "methods.dm", {})
    capsys.readouterr()
    assert project.run("explain", "dm-tiny-1") == 0 and "learned apart" not in capsys.readouterr().out
