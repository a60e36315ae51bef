"""A `dvc` that is killed while its stage goes on, and run again: two processes, one output.

Neither may leave a part of an output that DVC takes for the whole, whatever has been published when they meet.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ddpipe.files import artifacts
from tests.pipeline.project import Project, folder_bytes

# A stage stops itself just before it publishes the path HOLD; its id is in the file HELD then.
STOP = """
import os, signal, sys

def stop(event, arguments):
    if event == "os.rename" and os.fsdecode(arguments[1]) == os.environ["HOLD"]:
        with open("held.new", "w") as file:
            file.write(str(os.getpid()))
        os.link("held.new", "held")
        os.kill(os.getpid(), signal.SIGSTOP)

if "HOLD" in os.environ:
    sys.addaudithook(stop)
"""
RESULT = "data/results/digits/dm-digits-1"


@dataclass(frozen=True)
class Case:
    """A stage, a number whose change makes it run, and what it publishes, in this order."""

    target: str
    file: str
    key: str
    value: Any
    outputs: tuple[str, ...]

    def change(self, project: Project) -> None:
        with project.edit(self.file) as tree:
            *path, last = self.key.split(".")
            for step in path:
                tree = tree[step]
            tree[last] = self.value


FURTHER = {"cell": "dm-digits-1", "dataset": "digits", "data": "digits", "network": "small", "protocol": "short"}
CASES = {
    "prepare": Case(
        "prepare@digits", "params.yaml", "datasets.digits.standardise", "unbiased", ("data/prepared/digits",)
    ),
    "experts": Case(
        *("experts@digits", "params.yaml", "experts.digits.epochs", 2),
        ("data/experts/digits",),
    ),
    "distill": Case(
        *("distill@dm-digits-1", "ddpipe/methods/dm.yaml", "dm.cells.digits-1.iterations", 3),
        ("data/distilled/dm-digits-1",),
    ),
    "evaluate": Case(
        *("evaluate@dm-digits-1", "params.yaml", "protocols.short.epochs", 3),
        (f"{RESULT}.png", f"{RESULT}.loss.csv", f"{RESULT}.convnet2_w16.short.json"),
    ),
    "further": Case(
        *("further@dm-digits-1-small-short", "params.yaml", "evaluations", {"dm-digits-1-small-short": FURTHER}),
        (f"{RESULT}.small.short.json",),
    ),
    "report": Case("report@digits", "params.yaml", "report.dpi", 51, ("reports/digits",)),
    "page": Case("page", "params.yaml", "report.dpi", 51, ("reports/survey", "reports/index.html")),
}
MEETINGS = [(stage, output) for stage, case in CASES.items() for output in case.outputs]
QUICK = {"data/prepared/digits"}


def files(project: Project, case: Case) -> dict[str, bytes]:
    """Whatever there is of the outputs; what tells seconds is held against its seal instead."""
    found = {}
    for path in (project.root / output for output in case.outputs):
        for name, content in (folder_bytes(path) if path.is_dir() else {"": path.read_bytes()}).items():
            if path.suffix == ".json":
                content = str(artifacts.read_sealed(path).get("accuracies")).encode()
            found[f"{path.relative_to(project.root)}/{name}"] = content
    return found


def dvc(project: Project, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(Path(sys.executable).parent / "dvc"), *arguments],
        **{"cwd": project.root, "env": project.environment() | environment, "start_new_session": True},
        **{"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT},
    )


@contextmanager
def orphan(project: Project, case: Case, output: str) -> Iterator["subprocess.Popen[str]"]:
    """A stage whose `dvc` was killed, stopped just before it publishes `output`; it goes on when the block ends."""
    with open(project.root / "stages/__init__.py", "a") as file:
        file.write(STOP)
    first = dvc(project, "repro", "--single-item", case.target, HOLD=output)
    try:
        while not (project.root / "held").exists():
            assert first.poll() is None, first.communicate()[0]
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        yield first
        os.kill(int((project.root / "held").read_text()), signal.SIGCONT)
        first.communicate()  # to the end of what it, and its stage, have to say
    finally:
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)


def up_to_date(project: Project, case: Case) -> bool:
    return "up to date" in project.dvc("status", case.target)


@pytest.mark.parametrize(
    ("stage", "output"),
    [pytest.param(*each, marks=[] if each[1] in QUICK else pytest.mark.slow, id=each[1]) for each in MEETINGS],
)
def test_a_killed_dvc_whose_stage_goes_on(project: Project, stage: str, output: str) -> None:
    case = CASES[stage]
    case.change(project)
    with orphan(project, case, output):
        second = dvc(project, "repro", "--single-item", case.target)
        said = second.communicate()[0]
        assert second.returncode != 0, said
        assert re.search("error: .*: another process is running this stage; wait for it", said), said
        assert not up_to_date(project, case)
    seemingly = files(project, case) if up_to_date(project, case) else None
    project.repro("--single-item", case.target)
    whole = files(project, case)
    assert seemingly in (None, whole)
    assert up_to_date(project, case)
    parents = {(project.root / path).parent for path in case.outputs}
    assert not [found for parent in parents for found in artifacts.temporaries(parent)]
    project.repro("--single-item", "--force", case.target)  # undisturbed
    assert files(project, case) == whole


@pytest.mark.slow
def test_a_report_waits_for_an_evaluation_that_goes_on(project: Project) -> None:
    """DVC would take down a result that changes while the report is written as one that it has read."""
    case, report = CASES["evaluate"], CASES["report"]
    case.change(project)
    report.change(project)
    with orphan(project, case, case.outputs[-1]):
        second = dvc(project, "repro", "--single-item", report.target)
        said = second.communicate()[0]
        assert second.returncode != 0 and "error: evaluate@dm-digits-1.convnet2_w16.short: another process" in said
    project.repro("--single-item", case.target)
    project.repro("--single-item", report.target)
    assert up_to_date(project, report)
