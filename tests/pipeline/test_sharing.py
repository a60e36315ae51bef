"""What one person computed, another gets from a remote and computes nothing."""

from pathlib import Path

from tests.pipeline.project import NEVER_RUN, Project, cell_stages


def test_a_clone_pulls_everything_and_runs_nothing(project: Project, tmp_path: Path) -> None:
    """The grid holds a cell that never ran, so plain `dvc pull` would fail: --allow-missing is the documented way."""
    project.dvc("remote", "add", "--default", "storage", str(tmp_path / "storage"))
    project.commit("A remote")
    project.dvc("push")

    clone = Project(tmp_path / "clone", project.home)
    project.call("git", "clone", "--quiet", str(project.root), str(clone.root))
    clone.dvc("pull", "--allow-missing")
    assert not (clone.root / "data/distilled" / NEVER_RUN).exists()
    assert clone.repro("report@digits") == (set(), set())
    assert "up to date" in clone.dvc("status", "report@digits")
    assert clone.call("git", "status", "--porcelain") == ""

    with clone.params() as params:  # a change in the clone costs what it costs at home
        params["methods"]["dc"] = {"real_batch": 8}
    clone.dvc("repro", "resolve")
    dry = clone.dvc("status", *sorted(cell_stages("dc-digits-1", "dm-digits-1")))
    assert "distill@dc-digits-1" in dry
    assert "dm-digits-1:" not in dry
