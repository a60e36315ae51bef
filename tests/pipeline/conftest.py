"""One small clone is run once a session; every test works on a copy of it."""

from pathlib import Path

import pytest

from tests.pipeline.project import CELLS, Project, cell_stages, clone


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The clone after `dvc repro report@digits`, everything committed. Tests must not change it."""
    folder = tmp_path_factory.mktemp("pipeline")
    project = clone(folder / "finished", folder / "home")
    ran = project.repro("report@digits").ran
    assert ran == {"prepare@digits", "experts@digits", *cell_stages(*CELLS), "report@digits"}
    project.commit("Results")
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A finished clone of the test's own."""
    return finished.copy(tmp_path / "project")
