"""Real stage processes killed with SIGKILL at random moments go on where they were and end with the same bytes."""

import math
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
from ruamel.yaml import YAML

from tests.pipeline.project import Project, folder_bytes
from tests.tracked import TRACKED

SETS = 2
STEPS = 21  # of an expert in a pass over digits
TRAJECTORIES: dict[str, Any] = {
    **{"data": "digits", "network": "convnet2_w16", "keep": "all", "batch": 64, "lr": 0.1, "drop": "never"},
    **{"momentum": 0.0, "weight_decay": 0.0, "augment": "none", "flat": None},
}
EXPERTS: dict[str, dict[str, Any]] = {
    "digits-trajectories": TRAJECTORIES | {"networks": 3, "epochs": 8},
    "digits-flat": TRAJECTORIES | {"networks": 2, "epochs": 6, "flat": {"rho": 0.01, "alpha": 1.0, "adaptive": True}},
    "digits-busy": TRAJECTORIES  # all that an expert can carry from one pass to the next
    | {"networks": 2, "epochs": 10, "momentum": 0.9, "augment": "color_crop_scale", "cutmix": 0.5, "drop": "half"}
    | {"drop_resets_momentum": True}
    | {"dtype": "float16"},
    "digits-company": TRAJECTORIES
    | {"networks": 3, "epochs": 8, "momentum": 0.9, "flat": {"rho": 0.01, "alpha": 1.0, "adaptive": True}},
}
LOOPS = {"outer_loop": 7, "inner_loop": 2, "momentum": 0.5}  # a student serves several steps, trained in between
PASSING = {"objective": {"steps": 4, "batch": 250}}  # a pass over the real images takes six iterations
FOLLOWING = {"objective": {"steps": 4}, "students": {"starts": 3, "span": 2}}


@dataclass(frozen=True)
class Case:
    """One stage to kill, in numbers of seconds."""

    stage: str
    key: str  # cell or buffer
    pieces: int  # sets or experts
    length: int  # iterations or passes of each
    interval: int  # between two checkpoints, in the same
    numbers: dict[str, Any]
    together: int = 1  # experts that are trained at once

    @property
    def total(self) -> int:
        return self.pieces * self.length

    @property
    def output(self) -> str:
        return f"data/{'distilled' if self.stage == 'distill' else 'experts'}/{self.key}"

    def positions(self, log: str) -> list[int]:
        """How far the run was, over all pieces, at each line that says so."""
        if self.stage == "experts":
            return [int(done) for done in re.findall(rf"^experts@{self.key}: (\d+)/\d+\b", log, re.MULTILINE)]
        done = re.findall(rf"^{self.key} set (\d+): (\d+)/(\d+)\b", log, re.MULTILINE)
        return [int(number) * int(length) + int(iteration) for number, iteration, length in done]


def distilling(method: str, iterations: int, **numbers: Any) -> Case:
    """`<method>-digits-1`, with a checkpoint every 5 % of a set."""
    numbers = {"sets": SETS, "iterations": iterations} | numbers
    return Case("distill", f"{method}-digits-1", SETS, iterations, iterations // 20, numbers)


def training(buffer: str, interval: int, together: int = 1) -> Case:
    numbers = EXPERTS[buffer]
    return Case("experts", buffer, numbers["networks"], numbers["epochs"], interval, numbers, together)


CASES = {
    case.key: case
    for case in (
        distilling("dm", 200, real_batch=16),
        distilling("dc", 60, real_batch=16, students=LOOPS),
        distilling("dsa", 60, real_batch=16, students=LOOPS),
        distilling("mtt", 60, **FOLLOWING),
        distilling("tesla", 60, **FOLLOWING | {"objective": {"steps": 4, "soft_labels": True}}),
        distilling("ftd", 60, **FOLLOWING),
        distilling("haba", 60, **FOLLOWING),
        distilling("dd", 60, **PASSING),
        distilling("sldd", 60, **PASSING),
        training("digits-trajectories", 1),
        training("digits-flat", 1),
        training("digits-busy", 2),
        training("digits-company", 1, together=2),
    )
}


@dataclass(frozen=True)
class Trace:
    """What the log of one process says."""

    killed: bool
    resumed: list[int]  # iterations or passes it went on from
    positions: list[int]  # those it finished, in order
    seconds: float  # from the first line of the log to the end
    log: str


def set_up(project: Project, case: Case) -> None:
    """Give the case its numbers and the buffer it needs, as if it had never run."""
    needs = case.key
    with project.params() as params:
        steps = STEPS if case.stage == "experts" else 1
        params["run"] |= {"checkpoint_every": case.interval * steps, "log_every": 1, "together": case.together}
        if case.stage == "distill":
            method = case.key.split("-")[0]
            params["methods"][method] = case.numbers
            row = YAML(typ="safe").load(TRACKED / f"ddpipe/methods/{method}.yaml")["grid"][case.key]
            needs = row["needs"].removeprefix("data/experts/")
            with project.recipe(method) as recipe:
                recipe["grid"].setdefault(case.key, row)
        if needs in EXPERTS:
            params["experts"][needs] = EXPERTS[needs]
    project.call("python", "-m", "stages.resolve")
    if case.stage == "distill" and needs in EXPERTS and not (project.root / "data/experts" / needs).exists():
        project.call("python", "-m", "stages.experts", needs)
    forget(project, case)


def forget(project: Project, case: Case) -> None:
    """As if the case had never run."""
    for folder in (case.output, f"data/checkpoints/{case.stage}/{case.key}"):
        shutil.rmtree(project.root / folder, ignore_errors=True)


def run(project: Project, case: Case, kill_after: tuple[int, float] | None = None) -> Trace:
    """Run the stage; kill its process group so many lines of progress and seconds after the first line of its log.

    Lines and not seconds alone: how far a process is after a second depends on what else the machine does.
    """
    process = project.start_stage(case.stage, case.key)
    assert process.stderr is not None
    lines = [process.stderr.readline()]
    began = time.monotonic()
    wanted, delay = kill_after or (math.inf, 0.0)
    timer = Timer(delay, os.killpg, (process.pid, signal.SIGKILL))
    finished = 0
    while True:
        if finished == wanted and timer.ident is None:
            timer.start()
        line = process.stderr.readline()
        if not line:
            break
        lines.append(line)
        finished += bool(case.positions(line))
    seconds = time.monotonic() - began
    timer.cancel()
    if finished >= wanted:
        timer.join()
    code = process.wait()
    process.stderr.close()
    log = "".join(lines)
    assert code in (0, -signal.SIGKILL), log
    resumed = [int(at) for at in re.findall(r"resuming at (?:iteration|pass) (\d+) of", log)]
    return Trace(code != 0, resumed, case.positions(log), seconds, log)


def check_kills(project: Project, unbroken: Project, case: Case, kills: int) -> None:
    """Kill runs of one stage until `kills` processes died; every run that ends is compared with an unbroken one."""
    total, interval = case.total, case.interval * case.together
    set_up(project, case)
    set_up(unbroken, case)
    whole = run(unbroken, case)
    assert whole.positions == list(range(1, total + 1)), whole.log
    expected = folder_bytes(unbroken.root / case.output)
    assert {f"{number}.safetensors" for number in range(case.pieces)} < expected.keys()

    draw, killed, resumed, extra = random.Random(f"kills of {case.key}"), 0, 0, 0
    output = project.root / case.output
    while killed < kills:
        forget(project, case)
        traces: list[Trace] = []
        while not traces or traces[-1].killed:
            moment = draw.randrange(math.ceil(0.4 * total)), draw.uniform(0, whole.seconds / total)
            traces.append(run(project, case, moment if killed < kills else None))
            killed += traces[-1].killed
            assert folder_bytes(output) in ({}, expected)  # none or all of it
        assert folder_bytes(output) == expected
        assert not list(output.parent.glob(".*"))

        deaths = len(traces) - 1
        executed = sum(len(trace.positions) for trace in traces)
        lost = deaths * case.together  # a death may lose the lines of the last step
        assert total - lost <= executed <= total + deaths * interval
        extra += executed - total
        furthest = 0
        for trace in traces:
            first = trace.positions[0] if trace.positions else furthest
            assert first > furthest - interval, "a process began further back than the last checkpoint"
            furthest = max(furthest, *trace.positions, 0)
            assert all(at > 0 for at in trace.resumed)
            resumed += len(trace.resumed)
    assert resumed > 0
    print(
        f"{case.stage}@{case.key}: {killed} kills, {resumed} resumes, {extra} of {total} repeated, "
        f"a checkpoint every {interval}, {whole.seconds:.1f} s"
    )


@pytest.mark.parametrize("key", ["dsa-digits-1", "digits-busy", "dd-digits-1", "sldd-digits-1"])
def test_killed_runs_end_with_the_same_bytes(project: Project, finished: Project, tmp_path: Path, key: str) -> None:
    check_kills(project, finished.copy(tmp_path / "unbroken"), CASES[key], kills=3)


@pytest.mark.slow
@pytest.mark.parametrize("key", CASES)
def test_twenty_kills_of_each(project: Project, finished: Project, tmp_path: Path, key: str) -> None:
    check_kills(project, finished.copy(tmp_path / "unbroken"), CASES[key], kills=20)


def test_a_second_process_is_refused(project: Project) -> None:
    case = CASES["dm-digits-1"]
    set_up(project, case)
    first = project.start_stage(case.stage, case.key)
    try:
        assert first.stderr is not None
        first.stderr.readline()
        os.killpg(first.pid, signal.SIGSTOP)  # it keeps its lock and cannot finish meanwhile
        second = project.start_stage(case.stage, case.key)
        message = second.communicate()[1]
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    assert second.returncode == 2
    assert "error: distill@dm-digits-1: another process is running this stage; " in message
    assert f"stop it (`kill {first.pid}`)" in message
    assert not (project.root / "data/distilled/dm-digits-1").exists()
