"""Links of data folders: refused where DVC would refuse the outputs, and only there (pipeline/ asks DVC itself)."""

import os
import shutil
from pathlib import Path

import pytest

from ddpipe.config import read_yaml
from ddpipe.errors import UserError
from ddpipe.pipeline.links import cached, refuse, refused
from tests.tracked import TRACKED

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project with the repository's dvc.yaml in a git repository of its own, and the current folder."""
    root = tmp_path / "project"
    (root / ".git").mkdir(parents=True)
    (root / "data").mkdir()
    shutil.copy(TRACKED / "dvc.yaml", root)
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return root


def link(root: Path, path: str, target: Path) -> None:
    if path == "data":
        (root / path).rmdir()
    target.mkdir(exist_ok=True)
    (root / path).symlink_to(os.path.relpath(target, (root / path).parent))


def test_the_folders_are_those_of_all_cached_outputs():
    content = read_yaml(TRACKED / "dvc.yaml")
    assert {str(folder) for folder in cached(content, None)} == {
        *("data", "data/prepared", "data/overview", "data/experts", "data/generators", "data/distilled")
    }  # data: of data/resolved
    assert [str(folder) for folder in cached(content, "experts")] == ["data/experts"]
    assert not list(cached(content, "evaluate")) and not list(cached(content, "page"))


@pytest.mark.parametrize("path", ["data", "data/prepared", "data/experts", "data/distilled"])
def test_a_link_out_of_the_project_is_refused_with_its_name_and_target(root, tmp_path, path):
    link(root, path, tmp_path / "elsewhere")
    sentences = set(refused(root))
    assert len(sentences) == 1 and sentences.pop().startswith(f"{path}: is a link to {tmp_path / 'elsewhere'}, outside")


@pytest.mark.parametrize("path", ["data/raw", "data/checkpoints", "data/results", "reports"])
def test_folders_without_cached_outputs_may_lie_anywhere(root, tmp_path, path):
    link(root, path, tmp_path / "elsewhere")
    assert not list(refused(root))


def test_links_within_the_repository_and_of_single_outputs_are_allowed(root, tmp_path):
    link(root, "data/distilled", root / "sets")
    (root / "data/prepared").mkdir()
    link(root, "data/prepared/digits", tmp_path / "elsewhere")
    assert not list(refused(root))


def test_a_link_behind_a_link_is_the_one_that_is_named(root, tmp_path):
    (root / "inner").mkdir()
    link(root, "inner/distilled", tmp_path / "elsewhere")
    (root / "data").rmdir()
    (root / "data").symlink_to("inner")
    assert [sentence.partition(":")[0] for sentence in refused(root, "distill")] == ["data/distilled"]


def test_without_git_and_without_dvc_nothing_is_refused(root, tmp_path, monkeypatch):
    link(root, "data/distilled", tmp_path / "elsewhere")
    refuse()
    for stage in ("evaluate@dm-digits-1", "prepare@digits", "page", "unknown"):
        monkeypatch.setenv("DVC_STAGE", stage)
        refuse()
    for stage in ("distill@dm-digits-1", "../project/dvc.yaml:distill@dm-digits-1"):
        monkeypatch.setenv("DVC_STAGE", stage)
        with pytest.raises(UserError, match="data/distilled: is a link"):
            refuse()
    (root / ".git").rmdir()
    refuse()


def test_a_link_that_leads_nowhere_is_refused_with_a_mend_of_its_own(root, tmp_path):
    link(root, "data/experts", tmp_path / "elsewhere")
    (tmp_path / "elsewhere").rmdir()
    assert "`rm data/experts && mkdir data/experts`" in next(refused(root))


@pytest.mark.parametrize("text", ["[]", "stages:", "stages: []", "stages: {a: {do: []}}", "stages: {a: {outs: }}"])
def test_a_dvc_yaml_of_another_shape_is_left_to_others(root, text):
    (root / "dvc.yaml").write_text(text)
    assert not list(refused(root))
