"""The small project (small_project.py), finished once a session and copied for each test that breaks it."""

import shutil
from pathlib import Path

import pytest

from tests.unit.small_project import DVC, PARAMS, PARTS, ROOT, Project, recipe


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages all ran once."""
    root = tmp_path_factory.mktemp("finished")
    (root / "params.yaml").write_text(PARAMS)
    (root / "dvc.yaml").write_text(DVC)
    (root / "ddpipe/methods").mkdir(parents=True)
    (root / "data/raw").mkdir(parents=True)
    for method in PARTS:
        (root / f"ddpipe/methods/{method}.yaml").write_text(recipe(method))
    shutil.copytree(ROOT / "data/published", root / "data/published")
    project = Project(root)
    project.npz()
    stages = [("prepare", "tiny"), ("experts", "tiny"), ("generators", "tiny")]
    for method in PARTS:
        stages += [("distill", f"{method}-tiny-1"), ("evaluate", f"{method}-tiny-1")]
    for words in [*stages, ("evaluate", "further@dm-tiny-1-other-again"), ("course", "dc-tiny-1"), ("report", "tiny")]:
        assert project.run(*words) == 0, words
    return root


@pytest.fixture
def project(finished_project: Path, tmp_path: Path) -> Project:
    """A copy of the finished project to break; without checkpoints, so that stages do their work."""
    root = tmp_path / "project"
    shutil.copytree(finished_project, root, ignore=lambda folder, names: [n for n in names if n == "checkpoints"])
    return Project(root)
