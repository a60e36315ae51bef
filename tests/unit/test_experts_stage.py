"""The stage `experts`: which networks it trains, which it finds finished or half-done, and what it writes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.experts.buffer import Buffer
from ddpipe.experts.training import Cohort
from ddpipe.files.artifacts import read_json, read_tensors
from ddpipe.settings import Run
from stages import experts
from tests.unit.small_project import Project

NUMBERS = {
    **{
        "data": "tiny",
        "network": "small",
        "networks": 2,
        "epochs": 4,
        "keep": "all",
        "drop": "half",
        "momentum": 0.5,
        "lr": 0.01,
        "weight_decay": 0.0005,
        "batch": 8,
        "drop_resets_momentum": True,
    },
    **{"dtype": "float16", "augment": "color_crop", "flat": {"rho": 0.05, "alpha": 1.0, "adaptive": True}},
}
PASSES = NUMBERS["networks"] * NUMBERS["epochs"]


class Stop(BaseException):
    pass


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of every pass that was made, in order; its `stop` raises before so many are."""

    class Passes(list):
        stop = 1000

    passes, advance = Passes(), Cohort.advance

    def noting(cohort: Cohort) -> None:
        if len(passes) == passes.stop:
            raise Stop
        passes.append(cohort.passes)
        advance(cohort)

    monkeypatch.setattr(Cohort, "advance", noting)
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
    cost = read_json(stage.root / "data/costs/experts.tiny.json")["costs"][about["seal"]]
    assert cost["networks"] == 2 and cost["seconds"] > 0 and cost["processor_seconds"] > 0 and "CPU" in cost["device"]


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


@pytest.fixture
def company(stage: Project) -> Project:
    """Three networks, two at once."""
    stage.set("params.yaml", "experts.tiny.networks", 3)
    stage.set("params.yaml", "run.together", 2)
    return stage


def start_again(project: Project) -> None:
    shutil.rmtree(project.root / "data/checkpoints")
    shutil.rmtree(project.root / "data/experts")


@pytest.mark.parametrize("after", range(1, 8))
def test_a_group_goes_on_in_the_same_company(
    company: Project, trained: list[int], capsys: pytest.CaptureFixture[str], after: int
) -> None:
    assert company.run("experts", "tiny") == 0
    assert trained == [0, 1, 2, 3] * 2
    unbroken = output(company)
    start_again(company)
    interrupted(company, trained, after)
    capsys.readouterr()
    assert company.run("experts", "tiny") == 0
    assert len(trained) == 8 - after and output(company) == unbroken
    resumed = {True: "network 0, 1: resuming at pass", False: "network 2: resuming at pass"}[after < 4]
    assert (resumed in capsys.readouterr().err) == bool(after % 4)


@pytest.mark.parametrize("written", range(6))
def test_a_kill_between_the_last_files_of_a_group_costs_no_pass(
    company: Project, trained: list[int], monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """The group's last state, its networks' two marks; the last network's state and mark; the output."""
    company.set("params.yaml", "run.checkpoint_every", 100)
    assert company.run("experts", "tiny") == 0
    unbroken, left, write = output(company), [written], Checkpoints.write
    start_again(company)
    trained.clear()

    def stopping(store: Checkpoints, *args: object, **more: object) -> None:
        if not left[0]:
            raise Stop
        left[0] -= 1
        write(store, *args, **more)

    monkeypatch.setattr(Checkpoints, "write", stopping)
    if written < 5:
        with pytest.raises(Stop):
            company.run("experts", "tiny")
    monkeypatch.setattr(Checkpoints, "write", write)
    assert company.run("experts", "tiny") == 0
    lost = 4 if written in (0, 3) else 0  # the state is not written before a group's last pass
    assert len(trained) == 8 + lost and output(company) == unbroken


def test_a_smaller_company_begins_afresh(company: Project, trained: list[int]) -> None:
    interrupted(company, trained, 2)
    company.set("params.yaml", "run.together", 1)
    assert company.run("experts", "tiny") == 0
    assert trained == [0, 1, 2, 3] * 3


def test_too_large_a_company_is_told_to_be_smaller(
    company: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(cohort: Cohort) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Cohort, "advance", full)
    assert company.run("experts", "tiny") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "error: run.together: out of memory with 2 networks at once; set it to 1, finished networks are kept"
    company.set("params.yaml", "run.together", 1)
    assert company.run("experts", "tiny") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert (
        told
        == "error: experts.tiny.batch: out of memory with 8 images at once; set it to 4, finished networks are kept"
    )


def test_a_gpu_tries_how_many_are_fastest(stage: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial is the stage's own: it trains throw-away networks, which leave the experts as they are."""
    assert stage.run("experts", "tiny") == 0
    unbroken, sizes = output(stage), []
    start_again(stage)

    def forced(run: Run, most: int, trial: Callable[[int], float], device: torch.device) -> int:
        sizes.extend(size for size in (1, 2) if trial(size) > 0)
        return 1

    monkeypatch.setattr(experts, "at_once", forced)
    assert stage.run("experts", "tiny") == 0
    assert sizes == [1, 2] and output(stage) == unbroken


def test_how_many_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(experts, "describe", lambda device: "this card")

    def doubling_pays(size: int) -> float:
        return 1.0

    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert experts.at_once(Run(), 10, doubling_pays, cpu) == 1
    assert experts.at_once(Run(), 10, doubling_pays, gpu) == 10
    assert "of 1, 2, 4, 8 and 10 networks at once, 10 take the least time each on this card" in capsys.readouterr().err
    assert experts.at_once(Run(), 100, doubling_pays, gpu) == experts.MOST
    assert experts.at_once(Run(together=3), 10, doubling_pays, cpu) == 3
    assert experts.at_once(Run(), 0, doubling_pays, gpu) == experts.at_once(Run(), 1, doubling_pays, gpu) == 1
