"""`ddpipe.load`: a distilled set as a torch Dataset that carries its preprocessing."""

import shutil
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import ddpipe
from ddpipe.datasets.prepared import Prepared
from ddpipe.distilled import sets
from ddpipe.distilled.sets import Distilled
from ddpipe.errors import UserError
from tests.unit.small_project import INFO, Project, plain


def test_a_learned_set_is_a_dataset(project: Project) -> None:
    chosen = ddpipe.load(project.root / "data/distilled/dm-tiny-1")
    assert len(chosen) == 3 and chosen.classes == ("0", "1", "2")
    image, target = chosen[1]
    assert image.shape == (1, 8, 8) and image.dtype == torch.float32
    assert torch.equal(target, torch.tensor([0.0, 1.0, 0.0]))
    assert chosen.loss.shape == (3,) and chosen.loss.isfinite().all()
    assert chosen.info["settings"]["iterations"] == 3 and chosen.hints == {}


def test_it_works_with_a_data_loader(project: Project) -> None:
    chosen = ddpipe.load(project.root / "data/distilled/dm-tiny-1")
    batches = list(DataLoader(chosen, batch_size=2, generator=torch.Generator()))
    assert [len(images) for images, _ in batches] == [2, 1]
    assert torch.equal(torch.cat([images for images, _ in batches]), chosen.images)
    assert torch.equal(torch.cat([targets for _, targets in batches]), chosen.targets)


def test_chosen_images_are_rows_of_the_prepared_data(project: Project) -> None:
    folder = project.root / "data/distilled/random-tiny-1"
    data = Prepared.load(project.root / "data/prepared/tiny")
    loaded = [ddpipe.load(folder, number) for number in (0, 1)]
    for number, chosen in enumerate(loaded):
        rows = Distilled.open(folder).tensors(number)["rows"]
        assert torch.equal(chosen.images, data.preprocessing.apply(data.train_images[rows]))
        assert chosen.targets.argmax(1).tolist() == data.train_labels[rows].tolist() == [0, 1, 2]
        assert chosen.loss.shape == (0,)
    assert not torch.equal(loaded[0].images, loaded[1].images)


def test_prepared_data_may_lie_elsewhere(project: Project, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (project.root / "data/prepared/tiny").rename(moved)
    folder = project.root / "data/distilled/random-tiny-1"
    assert len(ddpipe.load(folder, prepared=moved)) == 3
    with pytest.raises(
        UserError, match="needs the prepared data 'tiny'.* run .dvc repro prepare@tiny.*prepared=FOLDER"
    ):
        ddpipe.load(folder)


def test_a_learned_set_needs_nothing_but_its_folder(project: Project, tmp_path: Path) -> None:
    folder = shutil.move(project.root / "data/distilled/dm-tiny-1", tmp_path / "alone")
    shutil.rmtree(project.root)
    assert len(ddpipe.load(folder)) == 3


@pytest.mark.parametrize("whitened", [False, True])
def test_its_preprocessing_travels_with_it(whitened: bool, project: Project, tmp_path: Path) -> None:
    if whitened:
        project.set("params.yaml", "datasets.tiny.standardise", "biased")
        project.set("params.yaml", "datasets.tiny.whitening", {})
        assert project.run("prepare", "tiny") == project.run("distill", "dm-tiny-1") == 0
    data = Prepared.load(project.root / "data/prepared/tiny")
    chosen = ddpipe.load(project.root / "data/distilled/dm-tiny-1")
    assert (chosen.preprocessing.matrix is not None) == whitened
    assert chosen.preprocessing.digest() == data.preprocessing.digest()
    test = chosen.preprocessing.apply(data.test_images)
    assert torch.equal(test, data.preprocessing.apply(data.test_images))
    pixels = chosen.pixels()
    assert pixels.shape == chosen.images.shape and pixels.min() >= 0 and pixels.max() <= 1


def test_pixels_undo_the_preprocessing(project: Project) -> None:
    chosen = ddpipe.load(project.root / "data/distilled/random-tiny-1")
    rows = Distilled.open(project.root / "data/distilled/random-tiny-1").tensors(0)["rows"]
    images = Prepared.load(project.root / "data/prepared/tiny").train_images[rows]
    assert torch.equal((chosen.pixels() * 255).round().byte(), images)


@pytest.mark.parametrize("number", [-1, 1])
def test_only_sets_that_exist(number: int, project: Project) -> None:
    with pytest.raises(UserError, match=f"dm-tiny-1 holds sets 0 to 0, not {number}"):
        ddpipe.load(project.root / "data/distilled/dm-tiny-1", number)


def test_a_folder_that_is_not_there(project: Project) -> None:
    with pytest.raises(UserError, match=r"data/distilled/nothing does not exist; .*dvc repro distill@nothing"):
        ddpipe.load(project.root / "data/distilled/nothing")


def test_hints_and_loss_come_back(tmp_path: Path) -> None:
    images, targets = torch.rand(2, 1, 4, 4), torch.tensor([[0.7, 0.3], [0.0, 1.0]])
    tensors = {"images": images, "targets": targets, "loss": torch.tensor([2.0, 1.0]), "hint.lr": torch.tensor(0.02)}
    sets.write(tmp_path / "set", INFO | {"classes": ["a", "b"]}, plain(), [tensors])
    chosen = ddpipe.load(tmp_path / "set")
    assert torch.equal(chosen.targets, targets) and torch.equal(chosen.loss, tensors["loss"])
    assert chosen.hints.keys() == {"lr"} and float(chosen.hints["lr"]) == pytest.approx(0.02)
