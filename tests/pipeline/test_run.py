"""`ddpipe run` beside `dvc repro`: the same lock, cache and run-cache, whoever goes on where the other stopped."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ddpipe.pipeline import record
from tests.pipeline.project import CELLS, Project, cell_stages, clone, folder_bytes
from tests.pipeline.stand_ins import ran, stand_in, tell

# `ddpipe` that writes the lock once, after its first stage, and not again before it ends
RARELY = """
import sys
from ddpipe.pipeline import batches
batches.SHARE = 1e-9
from ddpipe.cli import main
main()
"""
SLOW = "distill@dm-digits-1"
AFTER_SLOW = {"evaluate@dm-digits-1", "report@digits"}
ALL = {"prepare@digits", "resolve", "experts@digits", *cell_stages(*CELLS), "report@digits"}


@pytest.fixture(scope="module", autouse=True)
def one_order() -> Iterator[None]:
    """DVC goes through a report's inputs, a set, in the order of Python's hashes, which differs from run to run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONHASHSEED", "0")
        yield


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone in which no stage has run, whose stages take no time. Tests must not change it."""
    folder = tmp_path_factory.mktemp("run")
    project = clone(folder / "fresh", folder / "home")
    stand_in(project)
    project.commit("Stand-ins")
    return project


@pytest.fixture(scope="module")
def complete(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The clone after `ddpipe run digits`. Tests must not change it."""
    project = fresh.copy(tmp_path_factory.mktemp("run") / "complete")
    run(project, "digits", "--jobs", "3")
    return project


@pytest.fixture
def project(fresh: Project, tmp_path: Path) -> Project:
    return fresh.copy(tmp_path / "project")


def run(project: Project, *arguments: str) -> str:
    return project.call(str(Path(sys.executable).parent / "ddpipe"), "run", *arguments)


def attempt(project: Project, *arguments: str, word: str = "run", **env: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).parent / "ddpipe"), word, *arguments]
    streams = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, cwd=project.root, env=project.environment() | env, **streams)


@contextmanager
def running(project: Project, *arguments: str, program: str = "from ddpipe.cli import main; main()") -> Iterator[Any]:
    """`ddpipe run` beside the test; what still runs at the end is let go on and killed."""
    command = [sys.executable, "-P", "-c", program, "run", *arguments]
    streams = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=project.root, env=project.environment(), **streams) as process:
        try:
            yield process
        finally:
            (project.root / "go").touch()
            with suppress(ProcessLookupError):
                process.kill()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begun(project: Project) -> set[str]:
    path = project.root / "ran.txt"
    return set(path.read_text().split()) if path.exists() else set()


def recorded(project: Project) -> set[str]:
    path = project.root / "dvc.lock"
    return set(record.entries(path.read_text())) if path.exists() else set()


def kept(project: Project) -> tuple[bytes, set[str], dict[str, bytes]]:
    """dvc.lock, the run-cache, and the cache."""
    cache = folder_bytes(project.root / ".dvc/cache")
    runs = {name for name in cache if name.startswith("runs/")}
    files = {name: content for name, content in cache.items() if name.startswith("files/")}
    return (project.root / "dvc.lock").read_bytes(), runs, files


def change(project: Project, iterations: int) -> None:
    with project.recipe("dm") as recipe:
        recipe["dm"]["cells"]["digits-1"]["iterations"] = iterations


def number(project: Project, value: int) -> None:
    tell(project, numbers={SLOW: value, "evaluate@dm-digits-1": value})


def test_it_ends_as_dvc_repro_does(complete: Project, fresh: Project, tmp_path: Path) -> None:
    mine, plain = complete.copy(tmp_path / "mine"), fresh.copy(tmp_path / "plain")
    assert sorted(ran(mine)) == sorted(ALL)
    plain.dvc("repro", "report@digits")
    assert set(ran(plain)) == ALL
    assert kept(mine) == kept(plain)

    assert "up to date" in mine.dvc("status", "report@digits")
    mine.dvc("repro", "report@digits")
    assert "0 stages ran, 0 came from the cache" in run(plain, "digits")
    assert ran(mine) == ran(plain) == []

    for value in (3, 4):  # new numbers, other outputs
        for project in (mine, plain):
            change(project, value)
            number(project, value)
        run(mine, "report@digits")
        plain.dvc("repro", "report@digits")
        assert set(ran(mine)) == set(ran(plain)) == {"resolve", SLOW, *AFTER_SLOW}
        assert kept(mine) == kept(plain)
    for project in (mine, plain):  # and back: the run-cache has what git has not
        change(project, 3)
        number(project, 3)
    said = run(mine, "dm-digits-1", "report@digits")
    restored = re.findall(r"^Stage '([^']+)' is cached - skipping run", said, re.MULTILINE)
    assert set(restored) - {"resolve"} == plain.repro("report@digits").restored == {SLOW}
    assert set(ran(mine)) == set(ran(plain)) == AFTER_SLOW
    assert kept(mine) == kept(plain)
    assert "up to date" in mine.dvc("status", "report@digits")


def test_what_dvc_has_recorded_and_lost_is_fetched_as_dvc_does(complete: Project, tmp_path: Path) -> None:
    mine, plain = complete.copy(tmp_path / "mine"), complete.copy(tmp_path / "plain")
    for project in (mine, plain):
        ran(project)
        for folder in ("prepared", "distilled"):
            project.call("rm", "-r", f"data/{folder}")
        (project.root / "data/results/digits/dm-digits-1.png").unlink()
    run(mine, "digits")
    plain.dvc("repro", "report@digits")
    assert ran(mine) == ran(plain) == ["evaluate@dm-digits-1"]
    assert kept(mine) == kept(plain)
    assert folder_bytes(mine.root / "data/distilled") == folder_bytes(plain.root / "data/distilled")


def test_each_stage_starts_when_what_it_needs_is_there_and_is_soon_recorded(project: Project) -> None:
    tell(project, waits=[SLOW])
    with running(project, "digits", "--jobs", "2") as process:
        until(lambda: begun(project) == ALL - AFTER_SLOW)
        until(lambda: recorded(project) == ALL - AFTER_SLOW - {SLOW})
        other = subprocess.run(
            ["dvc", "repro", "--single-item", "--force", "prepare@digits"],
            **{"cwd": project.root, "env": project.environment(), "text": True, "capture_output": True},
        )
        assert other.returncode != 0 and "busy" in other.stderr, other.stderr  # the slow stage still reads it
        (project.root / "go").touch()
        assert process.wait() == 0, process.communicate()
    order = ran(project)
    assert order[-1] == "report@digits" and set(order) == ALL and len(order) == len(ALL)
    assert "up to date" in project.dvc("status", "report@digits")


def test_no_more_commands_run_at_once_than_jobs(project: Project) -> None:
    tell(project, waits=[f"distill@{cell}" for cell in CELLS])
    with running(project, "digits", "--jobs", "3") as process:
        until(lambda: len(begun(project) & {f"distill@{cell}" for cell in CELLS}) == 3)
        time.sleep(0.3)
        assert len(begun(project) - {"prepare@digits", "resolve", "experts@digits"}) == 3
        (project.root / "go").touch()
        assert process.wait() == 0


def test_a_failed_stage_keeps_back_only_what_needs_it(project: Project) -> None:
    tell(project, fails=[SLOW])
    failed = attempt(project, "digits", "--jobs", "2")
    assert failed.returncode == 2
    assert f"{SLOW} cannot" in failed.stdout
    said = failed.stdout.splitlines()[-1]
    assert said == (
        f"error: {SLOW} failed (exit code 3); not run because of that: evaluate@dm-digits-1, report@digits; "
        "mend it and run the same command again, all else is recorded"
    )
    assert set(ran(project)) == ALL - AFTER_SLOW
    assert recorded(project) == ALL - AFTER_SLOW - {SLOW}
    tell(project, fails=[])
    project.dvc("repro", "report@digits")
    assert set(ran(project)) == {SLOW, *AFTER_SLOW}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_what_has_finished_survives_a_signal(project: Project, number: int, code: int) -> None:
    tell(project, waits=[SLOW])
    finished = ALL - AFTER_SLOW - {SLOW}
    with running(project, "digits", "--jobs", "2", program=RARELY) as process:
        until(lambda: begun(project) == ALL - AFTER_SLOW and os.listdir(project.root / "running") == [SLOW])
        time.sleep(1)  # the last one ends, and is taken down
        assert len(recorded(project)) == 1
        process.send_signal(number)
        assert process.wait(timeout=30) == code
        if number == signal.SIGKILL:
            assert len(recorded(project)) == 1
        else:
            assert recorded(project) == finished
            said = process.communicate()[0]
            assert f"stopped: {SLOW}, evaluate@dm-digits-1, report@digits; what has finished is recorded" in said
            assert os.listdir(project.root / "running") == []
    until(lambda: os.listdir(project.root / "running") == [])  # the orphan has gone on to its end
    ran(project)
    run(project, "digits")
    # DVC remembers no run of an evaluation: where nothing could be recorded, it takes its result as it lies there
    again = {name for name in ALL if name.startswith("evaluate@")} if number == signal.SIGKILL else set()
    assert set(ran(project)) <= {SLOW, *AFTER_SLOW} | again
    assert "up to date" in project.dvc("status", "report@digits")


def test_targets(project: Project) -> None:
    run(project, "dm-digits-1", "prepare@mnist")
    assert set(ran(project)) == {"prepare@digits", "resolve", "prepare@mnist", SLOW, "evaluate@dm-digits-1"}
    change(project, 5)
    run(project, "--single-item", "evaluate@dm-digits-1")
    assert ran(project) == []
    unknown = attempt(project, "dm-digits-7")
    assert unknown.returncode == 2 and "did you mean 'dm-digits-1'?" in unknown.stdout


def test_a_damaged_lock_is_named_and_kept(complete: Project, tmp_path: Path) -> None:
    project = complete.copy(tmp_path / "project")
    path = project.root / "dvc.lock"
    for content in (path.read_bytes()[:-30], b"", path.read_bytes().replace(b"    cmd:", b"    cmd: [", 1)):
        path.write_bytes(content)
        told = attempt(project, "digits")
        assert told.returncode == 2 and re.search(r"error: dvc.lock is .*`cp [^`]*` puts back", told.stdout), (
            told.stdout
        )
        assert path.read_bytes() == content


def test_entries_of_others_stay_as_they_are(complete: Project, tmp_path: Path) -> None:
    """What else stands in the lock is not parsed, and a new stage stands where `dvc repro` would put it."""
    project = complete.copy(tmp_path / "project")
    path = project.root / "dvc.lock"
    entry = "  gone@stage:\n    cmd: 'true'   # by hand\n"
    path.write_text(path.read_text() + entry + "datasets: []\n")
    before = path.read_text()
    run(project, "page", "--single-item")
    page = record.entries(path.read_text())["page"]
    assert path.read_text() == before.replace(entry, entry + page)


@pytest.mark.parametrize("words", [("",), ("digits", " ")])
def test_an_empty_target_is_not_the_whole_grid(words: tuple[str, ...], project: Project) -> None:
    """As of `ddpipe run "$cell"` where the shell knows no cell."""
    for word in ("run", "plan"):
        told = attempt(project, *words, word=word)
        assert told.returncode == 2 and "error: a target is empty" in told.stdout
    assert not begun(project)


def test_an_environment_that_is_not_activated(project: Project, tmp_path: Path) -> None:
    """The stages' `python` is that of ddpipe, whatever another one is called first."""
    other = tmp_path / "bin" / "python"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\nexit 9\n")
    other.chmod(0o755)
    told = attempt(project, "prepare@digits", PATH=f"{other.parent}:/usr/bin:/bin")
    assert told.returncode == 0, told.stdout
    assert begun(project) == {"prepare@digits"}


def test_without_git(project: Project) -> None:
    """A project that was downloaded as an archive."""
    shutil.rmtree(project.root / ".git")
    told = attempt(project, "prepare@digits")
    assert told.returncode == 2 and "is not a git repository; `git init` makes it one, `dvc config" in told.stdout
    project.dvc("config", "core.no_scm", "true")
    run(project, "prepare@digits")
    assert begun(project) == {"prepare@digits"}


@pytest.mark.slow
def test_real_stages_beside_each_other(finished: Project, tmp_path: Path) -> None:
    """They hold locks of their own; their sets are those of `dvc repro`, byte by byte."""
    project = finished.copy(tmp_path / "project")
    for path in ("dvc.lock", ".dvc/cache", ".dvc/tmp", "data/prepared", "data/experts", "data/distilled"):
        project.call("rm", "-r", path)
    project.call("rm", "-r", "data/checkpoints", "data/costs", "data/results/digits", "reports/digits")
    run(project, "digits", "--jobs", "3")
    for folder in ("prepared", "experts", "distilled"):
        assert folder_bytes(project.root / "data" / folder) == folder_bytes(finished.root / "data" / folder)
    assert "up to date" in project.dvc("status", "report@digits")
    assert project.repro("report@digits") == (set(), set())
