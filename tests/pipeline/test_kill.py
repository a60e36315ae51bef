"""Real stage processes killed with SIGKILL at random moments go on where they were and end with the same bytes."""

import os
import random
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from tests.pipeline.project import Project, folder_bytes

SETS = 2
METHODS: dict[str, dict[str, Any]] = {  # every student serves several steps and is trained in between, with momentum
    "dm": {"iterations": 200},
    "dc": {"iterations": 60, "students": {"outer_loop": 7, "inner_loop": 2, "momentum": 0.5}},
    "dsa": {"iterations": 60, "students": {"outer_loop": 7, "inner_loop": 2, "momentum": 0.5}},
}


@dataclass(frozen=True)
class Trace:
    """What the log of one process says. A position counts iterations over all sets."""

    killed: bool
    resumed: list[int]  # iterations it went on from
    positions: list[int]  # iterations it finished, in order
    seconds: float  # from the first line of the log to the end
    log: str


def set_up(project: Project, method: str) -> int:
    """Give `<method>-digits-1` a run of seconds; returns the checkpoint interval, 5 % of a set's iterations."""
    numbers = METHODS[method]
    interval = numbers["iterations"] // 20
    with project.params() as params:
        params["methods"][method] = {"sets": SETS, "real_batch": 16} | numbers
        params["run"] |= {"checkpoint_every": interval, "log_every": 1}
        if method == "dsa":
            params["grid"]["dsa-digits-1"] = {
                **{"method": "dsa", "recipe": "dsa", "cell": "digits-1", "dataset": "digits", "data": "digits"},
                **{"ipc": 1, "network": "convnet2_w16", "protocol": "short", "needs": "data/prepared/digits"},
                **{"objective": "ddpipe/objectives/gradient.py", "synthetic": "ddpipe/synthetic/pixels.py"},
            }
    forget(project, f"{method}-digits-1")
    return interval


def forget(project: Project, cell: str) -> None:
    """As if the cell had never run."""
    for folder in ("distilled", "checkpoints/distill"):
        shutil.rmtree(project.root / "data" / folder / cell, ignore_errors=True)


def distill(project: Project, cell: str, kill_after: float | None = None) -> Trace:
    """Run the stage; kill its process group `kill_after` seconds after the first line of its log."""
    process = project.start_stage("distill", cell)
    assert process.stderr is not None
    lines = [process.stderr.readline()]
    began = time.monotonic()
    timer = Timer(kill_after or 0.0, os.killpg, (process.pid, signal.SIGKILL))
    if kill_after is not None:
        timer.start()
    lines += process.stderr
    seconds = time.monotonic() - began
    timer.cancel()
    if kill_after is not None:
        timer.join()
    code = process.wait()
    process.stderr.close()
    log = "".join(lines)
    assert code in (0, -signal.SIGKILL), log
    done = re.findall(rf"^{cell} set (\d+): (\d+)/(\d+), ", log, re.MULTILINE)
    positions = [int(number) * int(total) + int(iteration) for number, iteration, total in done]
    resumed = [int(iteration) for iteration in re.findall(r"resuming at iteration (\d+) of", log)]
    return Trace(code != 0, resumed, positions, seconds, log)


def check_kills(project: Project, unbroken: Project, method: str, kills: int) -> None:
    """Kill runs of one cell until `kills` processes died; every run that ends is compared with an unbroken one."""
    cell, total = f"{method}-digits-1", SETS * METHODS[method]["iterations"]
    interval = set_up(project, method)
    set_up(unbroken, method)
    whole = distill(unbroken, cell)
    assert whole.positions == list(range(1, total + 1))
    expected = folder_bytes(unbroken.root / "data/distilled" / cell)
    assert {"0.safetensors", "1.safetensors", "distilled.json"} <= expected.keys()

    draw, killed, resumed = random.Random(f"kills of {method}"), 0, 0
    output = project.root / "data/distilled" / cell
    while killed < kills:
        forget(project, cell)
        traces: list[Trace] = []
        while not traces or traces[-1].killed:
            delay = draw.uniform(0, 0.4 * whole.seconds) if killed < kills else None
            traces.append(distill(project, cell, delay))
            killed += traces[-1].killed
            assert folder_bytes(output) in ({}, expected)  # none or all of it
        assert folder_bytes(output) == expected
        assert not list(output.parent.glob(".*"))

        deaths = len(traces) - 1
        executed = sum(len(trace.positions) for trace in traces)
        assert total - deaths <= executed <= total + deaths * interval  # a death may lose the line of the last step
        furthest = 0
        for trace in traces:
            first = trace.positions[0] if trace.positions else furthest
            assert first > furthest - interval, "a process began further back than the last checkpoint"
            furthest = max(furthest, *trace.positions, 0)
            assert all(iteration > 0 for iteration in trace.resumed)
            resumed += len(trace.resumed)
    assert resumed > 0
    print(f"{method}: {killed} kills, {resumed} resumes, every {interval} of {total} iterations, {whole.seconds:.1f} s")


def test_killed_runs_end_with_the_same_bytes(project: Project, finished: Project, tmp_path: Path) -> None:
    check_kills(project, finished.copy(tmp_path / "unbroken"), "dsa", kills=3)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_twenty_kills_a_method(project: Project, finished: Project, tmp_path: Path, method: str) -> None:
    check_kills(project, finished.copy(tmp_path / "unbroken"), method, kills=20)


def test_killed_experts_keep_the_finished_ones(project: Project, finished: Project, tmp_path: Path) -> None:
    unbroken = finished.copy(tmp_path / "unbroken")
    kept = project.root / "data/checkpoints/experts/digits"
    for one in (project, unbroken):
        with one.params() as params:
            params["experts"]["digits"] |= {"networks": 3, "epochs": 6}
        shutil.rmtree(one.root / "data/checkpoints/experts")
        shutil.rmtree(one.root / "data/experts")
    unbroken.call("python", "-m", "stages.experts", "digits")

    draw = random.Random("kills of experts")
    process = project.start_stage("experts", "digits")
    while not (kept / "0.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(draw.uniform(0, 0.3))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (project.root / "data/experts/digits").exists()
    before = {path: path.stat().st_mtime_ns for path in kept.glob("[0-9].safetensors")}
    assert 1 <= len(before) < 3

    project.call("python", "-m", "stages.experts", "digits")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert folder_bytes(project.root / "data/experts") == folder_bytes(unbroken.root / "data/experts")


def test_a_second_process_is_refused(project: Project) -> None:
    set_up(project, "dm")
    first = project.start_stage("distill", "dm-digits-1")
    try:
        assert first.stderr is not None
        first.stderr.readline()
        os.killpg(first.pid, signal.SIGSTOP)  # it keeps its lock and cannot finish meanwhile
        second = project.start_stage("distill", "dm-digits-1")
        message = second.communicate()[1]
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    assert second.returncode == 2
    assert re.fullmatch(r"error: data/checkpoints/distill/dm-digits-1\b.* another run .*\n", message)
    assert not (project.root / "data/distilled/dm-digits-1").exists()
