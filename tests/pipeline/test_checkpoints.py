"""What a checkpoint survives and what it does not: the stage's own command, in this process, on a finished clone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import stages
from ddpipe.pipeline import programs
from stages import distill, resolve
from tests.pipeline.project import Project, folder_bytes

CELL = "dm-digits-1"
ITERATIONS, STOP = 12, 7


@pytest.fixture
def clone(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The working folder; one cell of 12 iterations that has not run."""
    monkeypatch.chdir(project.root)
    with project.params() as params:
        params["methods"]["dm"] = {"iterations": ITERATIONS}
        params["run"]["checkpoint_every"] = 2
    yield project
    torch.set_num_threads(1)


def distil() -> None:
    """The stage as DVC runs it: after the stage that resolves its numbers."""
    for main in (resolve.main, lambda: distill.main(CELL)):
        with stages.held:
            main()


def run(capsys: pytest.CaptureFixture[str]) -> str:
    """The stage's log."""
    distil()
    return capsys.readouterr().err


def interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the stage in the middle, as Ctrl-C does: after iteration 7, so that the checkpoint is of iteration 6."""
    advance = distill.Progress.advance

    def stop(progress: distill.Progress, note: str = "", steps: int = 1) -> None:
        advance(progress, note, steps)
        if progress.done == STOP:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(distill.Progress, "advance", stop)
        with pytest.raises(KeyboardInterrupt):
            distil()


def partial(project: Project) -> Path:
    return project.root / "data/checkpoints/distill" / CELL / "set-0.partial.safetensors"


def output(project: Project) -> dict[str, bytes]:
    return folder_bytes(project.root / "data/distilled" / CELL)


@pytest.fixture
def unbroken(clone: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The bytes of a run that nothing disturbs."""
    other = clone.copy(tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        patch.chdir(other.root)
        distil()
    return output(other)


def test_another_interval_goes_on_from_the_checkpoint(
    clone: Project,
    unbroken: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt(monkeypatch)
    with clone.params() as params:
        params["run"]["checkpoint_every"] = 5
    assert f"resuming at iteration 6 of {ITERATIONS}" in run(capsys)
    assert output(clone) == unbroken
    assert not partial(clone).exists()


def test_another_number_of_threads_goes_on_and_says_so(
    clone: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(monkeypatch)
    with clone.params() as params:
        params["run"]["threads"] = 2
    log = run(capsys)
    assert f"resuming at iteration 6 of {ITERATIONS}" in log
    assert "begun on" in log and "1 threads" in log


def test_a_checkpoint_cut_short_is_replaced(
    clone: Project,
    unbroken: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt(monkeypatch)
    whole = partial(clone).read_bytes()
    partial(clone).write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    log = run(capsys)
    assert log.count("afresh") == 1 and "resuming" not in log
    assert log.splitlines()[0].count("set-0.partial.safetensors") == 1
    assert output(clone) == unbroken


def test_other_numbers_start_afresh(
    clone: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(monkeypatch)
    with clone.params() as params:
        params["methods"]["dm"]["real_batch"] = 8
    assert "resuming" not in run(capsys)


def test_other_mathematics_start_afresh(
    clone: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """DVC reruns a cell whose objective changed; its finished sets are the old objective's."""
    assert f"set 0: {ITERATIONS}/{ITERATIONS}" in run(capsys)
    assert "set 0" not in run(capsys), "a finished set is kept"
    code = clone.root / "ddpipe/objectives/distribution.py"
    monkeypatch.setattr(programs, "SOURCES", clone.root)
    code.write_text(code.read_text() + "# a remark\n")
    assert "set 0" not in run(capsys)
    code.write_text(code.read_text() + "CHANGED = 1\n")
    assert f"set 0: {ITERATIONS}/{ITERATIONS}" in run(capsys)


def test_more_sets_keep_the_finished_ones(clone: Project, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys)
    first = output(clone)["0.safetensors"]
    with clone.params() as params:
        params["methods"]["dm"]["sets"] = 2
    log = run(capsys)
    assert "set 0" not in log and f"set 1: {ITERATIONS}/{ITERATIONS}" in log
    assert output(clone)["0.safetensors"] == first != output(clone)["1.safetensors"]


def test_what_a_killed_process_left_neither_counts_nor_stays(clone: Project) -> None:
    """Half-written files of a stage that was killed while it wrote its results."""
    root = clone.root
    for left_behind in (f"data/distilled/.{CELL}.tmp", "reports/.digits.tmp"):
        (root / left_behind).mkdir()
        (root / left_behind / "0.safetensors").write_bytes(b"half")
    (root / "data/results/digits/.dm-digits-1.png.tmp").write_bytes(b"half")
    with clone.params() as params:
        params["methods"]["dm"] = {}
    assert "up to date" in clone.dvc("status", "report@digits")
    untracked = clone.call("git", "status", "--porcelain", "--untracked-files=all", "data", "reports")
    assert untracked == ""
    with stages.held:
        distill.main(CELL)
    assert not list((root / "data/distilled").glob(".*"))
