"""Images of the user's own under the real DVC: looked at by content, kept by `dvc add`, taken along by experiments."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.project import Project, clone


def images(folder: Path, seed: int = 0) -> None:
    """Four images for training and two for testing of each of three classes."""
    rng = np.random.default_rng(seed)
    for part, count in (("train", 4), ("test", 2)):
        for word in ("gull", "owl", "wren"):
            (folder / part / word).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / part / word / f"{number}.png")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A clone in which nothing ran."""
    return clone(tmp_path / "project", tmp_path / "home")


@pytest.fixture
def birds(project: Project) -> Path:
    """Images at data/raw/birds, and their entry in params.yaml."""
    images(project.root / "data/raw/birds")
    with project.params() as params:
        params["own"]["birds"] = {"source": "folder", "path": "data/raw/birds", "flip": True}
    return project.root / "data/raw/birds"


def test_what_changes_is_stale_and_all_else_is_not(project: Project, birds: Path) -> None:
    assert project.repro("own@birds").ran == {"own@birds"}
    assert project.repro("own@birds").ran == set()
    assert "up to date" in project.dvc("status", "own@birds")
    overview = (project.root / "data/overview/birds/overview.txt").read_text()
    assert "birds: 12 training and 6 test images of 3x8x8, 3 classes\n  gull       4 training       2 test" in overview
    before = (project.root / "data/prepared/birds/data.json").read_text()

    Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(birds / "train/owl/2.png")
    assert "modified:           data/raw/birds" in project.dvc("status", "own@birds")
    assert project.repro("own@birds").ran == {"own@birds"}
    assert (project.root / "data/prepared/birds/data.json").read_text() != before

    for part in ("train", "test"):
        shutil.rmtree(birds / part / "wren")
    assert "modified:           data/raw/birds" in project.dvc("status", "own@birds")
    assert project.repro("own@birds").ran == {"own@birds"}
    assert json.loads((project.root / "data/prepared/birds/data.json").read_text())["classes"] == ["gull", "owl"]

    (birds / "train/.DS_Store").write_text("of a file manager")
    assert "up to date" in project.dvc("status", "own@birds")


def test_dvc_keeps_the_images_and_gives_them_back(project: Project, birds: Path) -> None:
    """`dvc add` as it stands, of deeper folders too; the images and what is made of them are one graph."""
    images(project.root / "data/raw/sets/fish", seed=1)
    with project.params() as params:
        params["own"]["fish"] = {"source": "folder", "path": "data/raw/sets/fish", "flip": True}
    project.dvc("add", "data/raw/birds", "data/raw/sets/fish")
    assert project.repro("own@birds", "own@fish").ran == {"own@birds", "own@fish"}
    listed = project.call("git", "status", "--short", "--untracked-files=all", "data").split()[1::2]
    assert set(listed) == {
        *("data/raw/.gitignore", "data/raw/birds.dvc", "data/raw/sets/.gitignore", "data/raw/sets/fish.dvc")
    }
    for path in (birds, project.root / "data/raw/sets/fish", project.root / "data/prepared/birds"):
        shutil.rmtree(path)
    for target in ("data/raw/birds.dvc", "data/raw/sets/fish.dvc", "data/prepared/birds"):  # DVC 3.67 forgets several
        project.dvc("checkout", target)
    assert project.repro("own@birds", "own@fish").ran == set()
    assert "up to date (nothing to do): 1 stage" in project.call("ddpipe", "plan", "own@birds")
    dag = project.dvc("dag", "--dot", "own@birds")
    assert '"data/raw/birds.dvc" -> "own@birds"' in dag


@pytest.mark.slow
def test_experiments_elsewhere_take_the_images_along(project: Project, birds: Path, tmp_path: Path) -> None:
    """In folders of DVC's own: what `dvc add` knows, and what lies outside the project."""
    images(tmp_path / "outside", seed=2)
    with project.params() as params:
        params["own"]["far"] = {"source": "folder", "path": str(tmp_path / "outside"), "flip": True}
    project.dvc("add", "data/raw/birds")
    assert project.repro("own@birds", "own@far").ran == {"own@birds", "own@far"}
    project.commit("Own images")
    for key in ("birds", "far"):
        log = project.dvc("exp", "run", "--temp", "--set-param", f"+own.{key}.standardise=unbiased", f"own@{key}")
        assert f"Running stage 'own@{key}'" in log and "Ran experiment" in log
    project.dvc("exp", "run", "--queue", "--set-param", "+own.birds.standardise=none", "--set-param",
                "+own.birds.whitening={}", "own@birds")  # fmt: skip
    assert "Ran experiment" in project.dvc("exp", "run", "--run-all")
    assert project.repro("own@birds", "own@far").ran == set()
