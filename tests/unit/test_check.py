"""`ddpipe check`: good projects pass, and what it knows agrees with the code. Its sentences: test_errors.py."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from ddpipe import augment, check, config, networks, older_augment, settings, strategy
from ddpipe.datasets.prepared import Prepared
from ddpipe.errors import UserError
from tests.unit.small_project import ROOT, Project, arrays


def test_the_project_itself() -> None:
    assert check.problems(config.load(ROOT)) == []


def test_a_good_project(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.run("check") == 0
    assert capsys.readouterr().out == "checked 4 rows, 1 further evaluations, 4 recipes: no mistake\n"


def test_it_does_not_load_torch() -> None:
    script = "from ddpipe import check, config, explain; check.problems(config.load()); import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "ddpipe.check" in done.stdout.split() and "torch" not in done.stdout.split()


@pytest.mark.parametrize(("resolution", "depth", "padding"), [*product((3, 8, 28, 32, 33), range(1, 6), (None, 1, 3))])
def test_depth_is_judged_as_the_network_does(resolution: int, depth: int, padding: int | None) -> None:
    chosen = settings.ConvNet(kind="convnet", depth=depth, width=2, first_padding=padding)
    try:
        built = networks.build(chosen, 1, resolution, 2)
    except UserError:
        side = 0
    else:
        side = round((built.classifier.in_features / 2) ** 0.5)  # type: ignore[operator, union-attr]
    assert check.convnet_side(resolution, depth, padding) == side


def test_class_sizes_are_those_of_the_training_images(project: Project) -> None:
    assert check.class_sizes(project.root / "data/prepared/tiny/data.safetensors") == [12, 12, 5]
    assert Prepared.load(project.root / "data/prepared/tiny").train_labels.bincount().tolist() == [12, 12, 5]
    assert np.bincount(arrays()["train_labels"]).tolist() == [12, 12, 5]


def test_ipc_of_the_smallest_class_is_allowed(project: Project) -> None:
    def widen(content: dict) -> None:
        content["grid"]["random-tiny-5"] = content["grid"].pop("random-tiny-1") | {"ipc": 5}

    project.edit("ddpipe/methods/random.yaml", widen)
    assert project.run("check") == 0
    assert project.run("distill", "random-tiny-5", "--ipc", "5") == 0


def test_names_of_augmentations_are_those_of_the_code() -> None:
    assert set(strategy.SIAMESE_OPERATIONS) == set(augment.OPERATIONS)
    for operation in strategy.OLDER_OPERATIONS:
        assert callable(getattr(older_augment, operation))


def test_without_prepared_data_the_rest_is_checked(project: Project, tmp_path: Path) -> None:
    (project.root / "data/prepared").rename(tmp_path / "away")
    assert project.run("check") == 0
