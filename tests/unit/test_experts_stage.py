"""The stage `experts`: which networks it trains, which it finds finished or half-done, and what it writes."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from ddpipe.artifacts import read_json, read_tensors
from ddpipe.buffer import Buffer
from ddpipe.experts import Expert
from tests.unit.small_project import Project

NUMBERS = {
    **{"data": "tiny", "network": "small", "networks": 2, "epochs": 4, "keep": "all", "momentum": 0.5, "batch": 8},
    **{"dtype": "float16", "augment": "color_crop", "flat": {"rho": 0.05}},
}
PASSES = NUMBERS["networks"] * NUMBERS["epochs"]


class Stop(Exception):
    pass


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of every pass that was made, in order; its `stop` raises before so many are."""

    class Passes(list):
        stop = 1000

    passes, advance = Passes(), Expert.advance

    def noting(expert: Expert) -> None:
        if len(passes) == passes.stop:
            raise Stop
        passes.append(expert.passes)
        advance(expert)

    monkeypatch.setattr(Expert, "advance", noting)
    return passes


@pytest.fixture
def stage(project: Project) -> Project:
    project.set("params.yaml", "experts.tiny", NUMBERS)
    project.set("params.yaml", "run.checkpoint_every", 4)  # steps; a pass has 4
    shutil.rmtree(project.root / "data/experts")
    return project


def interrupted(project: Project, passes: list[int], after: int) -> None:
    """Run the stage until `after` passes are made."""
    passes.clear()
    passes.stop = after
    with pytest.raises(Stop):
        project.run("experts", "tiny")
    passes.stop = 1000
    passes.clear()


def output(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project.root / "data/experts/tiny").iterdir()}


def test_what_it_writes(stage: Project, trained: list[int]) -> None:
    assert stage.run("experts", "tiny") == 0
    assert trained == [0, 1, 2, 3] * 2
    folder = stage.root / "data/experts/tiny"
    assert {path.name for path in folder.iterdir()} == {"0.safetensors", "1.safetensors", "experts.json"}
    arrays = [read_tensors(folder / f"{number}.safetensors")[0]["snapshots"] for number in range(2)]
    about = read_json(folder / "experts.json")
    weights = sum(torch.Size(shape).numel() for _, shape in about["parameters"])
    for array in arrays:
        assert array.shape == (5, weights) and array.dtype == torch.float16
        assert len(array.unique(dim=0)) == 5, "snapshots are copies, not the last weights five times"
    assert not torch.equal(*arrays)
    assert about["seed"] == 0 and about["recipe"]["flat"] == {"rho": 0.05, "alpha": 1.0, "adaptive": True}
    assert about["data_checksum"] == read_json(stage.root / "data/prepared/tiny/data.json")["checksum"]
    assert Buffer(folder).epochs == 4
    cost = read_json(stage.root / "data/costs/experts.tiny.json")
    assert cost["networks"] == 2 and cost["seconds"] > 0 and "CPU" in cost["device"]


def test_the_output_lies_on_the_disk_once(stage: Project) -> None:
    assert stage.run("experts", "tiny") == 0
    kept, written = stage.root / "data/checkpoints/experts/tiny", stage.root / "data/experts/tiny"
    assert all(os.path.samefile(kept / f"{n}.snapshots", written / f"{n}.safetensors") for n in range(2))


def test_without_hard_links_it_is_copied(stage: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stage.run("experts", "tiny") == 0
    linked = output(stage)

    def refuse(*paths: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert stage.run("experts", "tiny") == 0
    assert output(stage) == linked


def test_more_networks_train_only_the_new_ones(stage: Project, trained: list[int]) -> None:
    assert stage.run("experts", "tiny") == 0
    first, before = output(stage), len(trained)
    stage.set("params.yaml", "experts.tiny.networks", 3)
    assert stage.run("experts", "tiny") == 0
    assert trained[before:] == [0, 1, 2, 3]
    assert {name: output(stage)[name] for name in ("0.safetensors", "1.safetensors")} == {
        name: first[name] for name in ("0.safetensors", "1.safetensors")
    }


@pytest.mark.parametrize("after", range(1, PASSES))
def test_an_interrupted_stage_goes_on_in_the_middle_of_a_network(
    stage: Project, trained: list[int], capsys: pytest.CaptureFixture[str], after: int
) -> None:
    assert stage.run("experts", "tiny") == 0
    unbroken = output(stage)
    shutil.rmtree(stage.root / "data/checkpoints")
    shutil.rmtree(stage.root / "data/experts")
    interrupted(stage, trained, after)
    assert not (stage.root / "data/experts/tiny").exists()
    capsys.readouterr()
    assert stage.run("experts", "tiny") == 0
    assert len(trained) == PASSES - after and (trained[0] == after % 4)
    assert ("resuming at pass" in capsys.readouterr().err) == bool(after % 4)
    assert output(stage) == unbroken
    assert not list((stage.root / "data/checkpoints/experts/tiny").glob("*.partial*"))


def test_checkpoints_wait_for_as_many_steps_as_asked(stage: Project, trained: list[int]) -> None:
    stage.set("params.yaml", "run.checkpoint_every", 9)  # steps: three passes
    interrupted(stage, trained, 2)
    assert stage.run("experts", "tiny") == 0
    assert trained[0] == 0
    shutil.rmtree(stage.root / "data/checkpoints")
    interrupted(stage, trained, 3)
    assert stage.run("experts", "tiny") == 0
    assert trained[0] == 3


def test_other_numbers_start_afresh_and_the_first_ones_do_not_come_back(stage: Project, trained: list[int]) -> None:
    """What is left of two recipes in one folder is never mixed."""
    assert stage.run("experts", "tiny") == 0
    first = output(stage)
    stage.set("params.yaml", "experts.tiny.lr", 0.02)
    interrupted(stage, trained, 3)
    stage.set("params.yaml", "experts.tiny.lr", 0.01)
    assert stage.run("experts", "tiny") == 0
    assert trained == [0, 1, 2, 3], "network 0 was overwritten, network 1 is still the first recipe's"
    assert output(stage) == first


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_an_array_that_lost_its_end_is_made_afresh(stage: Project, trained: list[int], harm: str) -> None:
    assert stage.run("experts", "tiny") == 0
    unbroken = output(stage)
    shutil.rmtree(stage.root / "data/checkpoints")
    interrupted(stage, trained, 3)
    array = stage.root / "data/checkpoints/experts/tiny/0.snapshots"
    if harm == "cut":
        array.write_bytes(array.read_bytes()[:-1])
    else:
        array.unlink()
    assert stage.run("experts", "tiny") == 0
    assert trained == [0, 1, 2, 3] * 2 and output(stage) == unbroken


def test_the_last_snapshot_alone(stage: Project, trained: list[int]) -> None:
    assert stage.run("experts", "tiny") == 0
    whole = [read_tensors(stage.root / f"data/experts/tiny/{n}.safetensors")[0]["snapshots"] for n in range(2)]
    stage.set("params.yaml", "experts.tiny.keep", "last")
    interrupted(stage, trained, 6)
    assert stage.run("experts", "tiny") == 0
    assert trained == [2, 3]
    for number in range(2):
        last = read_tensors(stage.root / f"data/experts/tiny/{number}.safetensors")[0]["snapshots"]
        assert torch.equal(last, whole[number][-1:])


def test_a_diverging_network_names_its_buffer(stage: Project, capsys: pytest.CaptureFixture[str]) -> None:
    stage.set("params.yaml", "experts.tiny.lr", 1e30)
    assert stage.run("experts", "tiny") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: experts.tiny.lr: training a network with 1e+30")
    assert not (stage.root / "data/experts/tiny").exists()
