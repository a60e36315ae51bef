"""Where a project may lie: clones that convert line ends, and data folders that are links."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.pipeline.project import Project, folder_bytes


def test_a_clone_that_converts_line_ends_has_the_same_bytes(finished: Project, tmp_path: Path):
    """DVC hashes files as they lie there: another byte would make every stage behind them stale."""
    project = Project(tmp_path / "clone", finished.home)
    finished.call("git", "clone", "--quiet", "-c", "core.autocrlf=true", str(finished.root), str(project.root))
    tracked = project.call("git", "ls-files").splitlines()
    assert {"params.yaml", "dvc.lock", "ddpipe/pipeline/programs.py"} <= set(tracked)
    original, cloned = folder_bytes(finished.root), folder_bytes(project.root)
    assert [name for name in tracked if original[name] != cloned[name]] == []


def test_a_linked_data_folder_is_refused_before_the_work_and_the_advice_helps(project: Project, tmp_path: Path):
    elsewhere = tmp_path / "another disk"
    shutil.move(project.root / "data/prepared", elsewhere)
    (project.root / "data/prepared").symlink_to(elsewhere)
    before = folder_bytes(elsewhere)
    command = ["dvc", "repro", "--force", "--single-item", "prepare@digits"]
    environment = project.environment()
    done = subprocess.run(command, cwd=project.root, env=environment, text=True, capture_output=True)
    assert done.returncode != 0 and "training and" not in done.stderr + done.stdout  # the stage's last words
    (advice,) = re.findall(r"^error: data/prepared: is a link to .*\(`(.*)`\)", done.stderr, re.MULTILINE)

    project.call("sh", "-c", advice)
    assert not (project.root / "data/prepared").is_symlink()
    project.repro("--force", "--single-item", "prepare@digits")
    assert folder_bytes(project.root / "data/prepared") == before


def test_the_cache_may_lie_elsewhere_and_the_outputs_be_links_into_it(project: Project, tmp_path: Path):
    project.dvc("cache", "dir", "--local", str(tmp_path / "cache"))
    project.dvc("config", "--local", "cache.type", "symlink")
    cell = ("prepare@digits", "distill@random-digits-1", "evaluate@random-digits-1")
    assert project.repro("--force", "--single-item", *cell).ran == set(cell)  # the later ones read links
    assert os.readlink(project.root / "data/distilled/random-digits-1/0.safetensors").startswith(str(tmp_path))
