"""The commit of a project: with a mark where code or numbers changed, and none where nobody knows one."""

import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from ddpipe.files import commits
from ddpipe.packing import pack


def git(root: Path, *words: str) -> str:
    own = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *own, *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "ddpipe").mkdir(parents=True)
    for path in ("ddpipe/part.py", "params.yaml", "README.md"):
        (root / path).write_text("1\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "all of it")
    return root


def test_the_commit_and_whether_what_counts_has_changed_since(root: Path) -> None:
    head = git(root, "rev-parse", "HEAD")
    assert commits.at(root) == head and len(head) == 40
    (root / "README.md").write_text("2\n")
    (root / "data").mkdir()
    (root / "data/result.json").write_text("{}")
    assert commits.at(root) == head, "no result was made by a README or by other results"
    (root / "params.yaml").write_text("2\n")
    assert commits.at(root) == f"{head}+"
    git(root, "commit", "-q", "-a", "-m", "another number")
    assert commits.at(root) == git(root, "rev-parse", "HEAD") != head
    (root / "ddpipe/new.py").write_text("1\n")
    assert commits.at(root) == git(root, "rev-parse", "HEAD") + "+"


def test_no_repository_no_program_no_commit_yet(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commits.at(tmp_path) is None
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert commits.at(empty) is None
    monkeypatch.setenv("PATH", str(empty))
    assert commits.at(root) is None


def test_a_repository_around_a_project_knows_nothing_of_it(root: Path) -> None:
    inner = root / "data/other"
    inner.mkdir(parents=True)
    (inner / "params.yaml").write_text("1\n")
    assert commits.at(inner) is None


def test_a_pack_says_its_commit_itself(root: Path) -> None:
    """Wherever it is unpacked: in a repository too, of which it is no part."""
    (root / commits.FILE).write_text("f" * 40 + "+\n")
    assert commits.at(root) == "f" * 40 + "+"
    (root / commits.FILE).write_text("")
    assert commits.at(root) is None


def test_what_is_packed_is_of_the_commit_at_which_it_was_packed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = pack.Stage("distill@x", "stages.distill", [], [], [], "data/checkpoints/distill/x")
    monkeypatch.setattr(pack, "stages", lambda config, targets: [stage])
    monkeypatch.setattr(pack, "numbers", lambda config, chosen: {})
    (root / "params.yaml").write_text("2\n")
    pack.pack(SimpleNamespace(root=root), ["x"], tmp_path / "pack")
    with tarfile.open(tmp_path / "pack/project.tar.xz") as archive:
        content = archive.extractfile(str(commits.FILE))
        assert content is not None
        (tmp_path / commits.FILE).write_bytes(content.read())
    assert commits.at(tmp_path) == commits.at(root) == git(root, "rev-parse", "HEAD") + "+"
