"""`ddpipe clean`: what no row asks for any more is listed, and removed only on demand; everything else stays."""

import hashlib
import stat
from pathlib import Path

import pytest

from ddpipe import config
from ddpipe.files import artifacts
from ddpipe.pipeline import batches, lock, orphans, record
from tests.unit.small_project import Project

LOCK = """schema: '2.0'
stages:
  distill@dm-tiny-1:
    cmd: one
    outs:
    - path: data/distilled/dm-tiny-1
  distill@dm-old-1:
    cmd: two
    outs:
    - path: data/distilled/dm-old-1
  mine@dm-old-1:
    cmd: the user's
  further@dm-old-1-small-quick:
    cmd: three
  report@tiny:
    cmd: four
"""
GONE = (  # by a copy of
    ("data/prepared/old", "data/prepared/tiny"),
    ("data/experts/old", "data/experts/tiny"),
    ("data/generators/old", "data/generators/tiny"),
    ("data/distilled/dm-old-1", "data/distilled/dm-tiny-1"),
    ("data/costs/dm-old-1.json", "data/costs/dm-tiny-1.json"),
    ("data/costs/experts.old.json", "data/costs/experts.tiny.json"),
    ("data/costs/generators.old.json", "data/costs/generators.tiny.json"),
    ("data/costs/dm-tiny-1.gone.quick.json", "data/costs/dm-tiny-1.small.quick.json"),
    ("data/metrics/old", "data/metrics/tiny"),
    ("data/results/tiny/dm-old-1.small.quick.json", "data/results/tiny/dm-tiny-1.small.quick.json"),
    ("data/results/tiny/dm-tiny-1.gone.quick.json", "data/results/tiny/dm-tiny-1.small.quick.json"),
    ("data/results/old/dm-old-1.png", "data/results/tiny/dm-tiny-1.png"),
    ("data/results/old/dm-old-1.loss.csv", "data/results/tiny/dm-tiny-1.loss.csv"),
    ("data/results/tiny/dm-tiny-1.course.json", "data/results/tiny/dc-tiny-1.course.json"),
    ("data/results/tiny/dm-tiny-1.course.png", "data/results/tiny/dc-tiny-1.course.png"),
    ("data/results/old/dm-old-1.space.json", "data/results/tiny/dc-tiny-1.space.json"),
    ("data/checkpoints/course/dm-tiny-1", "data/distilled/dm-tiny-1"),
    ("data/checkpoints/distill/dm-old-1", "data/distilled/dm-tiny-1"),
    ("data/checkpoints/generators/old", "data/generators/tiny"),
    ("data/checkpoints/evaluate/dm-old-1.small.quick", "data/distilled/dm-tiny-1"),
    ("reports/old", "reports/tiny"),
)


MINE = (  # beside what stages write
    *("data/results/tiny/my-notes.csv", "data/results/tiny/plot.png", "data/results/tiny/my.loss.csv"),
    *("data/results/tiny/a.b.c.json", "data/results/tiny/my.course.json", "data/results/tiny/my.course.png"),
    *("data/costs/mine.json", "data/costs/experts.mine.json", "data/costs/a.b.c.json", "data/metrics/mine/mine.json"),
    *("data/results/tiny/dm-tiny-1.csv", "data/metrics/mine/notes.txt"),
)


def spoil(project: Project) -> set[str]:
    """Leave things of gone rows in the project; their names."""
    (project.root / "dvc.lock").write_text(LOCK)
    for path, like in GONE:
        to, source = project.root / path, project.root / like
        for file in [p for p in source.rglob("*") if p.is_file()] if source.is_dir() else [source]:
            artifacts.write_bytes(to / file.relative_to(source) if source.is_dir() else to, file.read_bytes())
    half = artifacts.temporary_name(project.root / "data/prepared/tiny")
    artifacts.write_text(half / "data.safetensors", "half")
    return {*(path for path, _ in GONE), str(half.relative_to(project.root))}


def everything(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_is_listed_goes_and_all_else_stays(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.root / "dvc.lock").write_text(LOCK)
    (project.root / "data/distilled/mine").mkdir()  # not a stage's: it says nothing of sets
    (project.root / "data/distilled/mine/notes.txt").write_text("mine")
    (project.root / "reports/mine.md").write_text("mine")
    for path in MINE:
        (project.root / path).parent.mkdir(exist_ok=True)
        (project.root / path).write_text("{}")
    outside = project.root.parent / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "distilled.json").write_text("{}")
    before = everything(project.root)
    assert project.run("clean") == 0 and "nothing is left over" not in capsys.readouterr().out
    gone = spoil(project)
    (project.root / "data/distilled/link").symlink_to(outside)
    spoilt = everything(project.root)
    for words in (["clean"], ["clean", "--dry-run"], ["clean", "--dry-run", "--yes"]):
        assert project.run(*words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert {line.split()[-1] for line in lines[:-1]} == gone | {
            *("data/distilled/link", "distill@dm-old-1", "further@dm-old-1-small-quick")
        }
        assert everything(project.root) == spoilt
    assert project.run("clean", "--yes") == 0
    after = everything(project.root)
    assert after.pop("dvc.lock") != before.pop("dvc.lock")
    assert after == before
    assert not (project.root / "data/results/old").exists()
    assert (outside / "distilled.json").exists() and not (project.root / "data/distilled/link").is_symlink()
    kept = (
        LOCK.split("  distill@dm-old-1")[0] + "  mine@dm-old-1:\n    cmd: the user's\n  report@tiny:\n    cmd: four\n"
    )
    assert (project.root / "dvc.lock").read_text() == kept
    capsys.readouterr()
    assert project.run("clean") == 0 and capsys.readouterr().out == "nothing is left over\n"


@pytest.mark.parametrize("spoilt", ["params.yaml", "ddpipe/methods/dm.yaml", "dvc.lock"])
def test_nothing_goes_while_a_file_cannot_be_read(spoilt: str, project: Project) -> None:
    spoil(project)
    (project.root / spoilt).write_text("[1, 2")
    before = everything(project.root)
    assert project.run("clean", "--yes") == 2
    assert everything(project.root) == before


def test_nothing_goes_while_a_recipe_is_missing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.root / "ddpipe/methods/dm.yaml").unlink()
    before = everything(project.root)
    assert project.run("clean", "--yes") == 2
    assert "ddpipe check" in capsys.readouterr().err
    assert everything(project.root) == before


def test_what_a_stage_uses_stays(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(project)
    monkeypatch.chdir(project.root)
    with lock.writing("distill@dm-old-1"), lock.writing("prepare@tiny"):
        assert project.run("clean", "--yes") == 2
        assert (project.root / "data/distilled/dm-old-1/distilled.json").exists()
        assert list(artifacts.temporaries(project.root / "data/prepared"))
    assert not (project.root / "data/experts/old").exists()
    assert project.run("clean", "--yes") == 0
    assert not orphans.orphans(config.load())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_lock_keeps_its_permissions(tmp_path: Path, end: str) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text("schema: '2.0'\nstages:\n  a@b:\n    cmd: x\n  c:\n    cmd: y\n", newline=end)
    path.chmod(0o664)
    record.forget(tmp_path, {"a@b"})
    batch = batches.Batches(path, ["c", "d"])
    batch.waiting = {"d": "  d:\n    cmd: z\n"}
    batch.write()
    assert path.read_bytes() == b"schema: '2.0'\nstages:\n  c:\n    cmd: y\n  d:\n    cmd: z\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_a_lock_without_any_stage(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  a@b:\n    cmd: x\n")
    record.forget(tmp_path, {"a@b"})
    assert (tmp_path / "dvc.lock").read_text() == "schema: '2.0'\nstages: {}\n"
