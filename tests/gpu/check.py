"""Everything ddpipe does, once on a card and once on the CPU, and what it costs there.

    python -m tests.gpu.check --device cuda --seconds 340 --out OUT [--mnist FOLDER] [--only about,compositions]

Sections come in the order of what they tell: a run that is cut short has told the most. Each is guarded, and
OUT/check.json is written after each, so an error or the end of the time loses only what follows it. `--tiny` makes all
of it small: with `--device cpu` the tests run this, so that it works when a card is at hand. What differs by more than
rounding is marked with LOOK. FOLDER holds MNIST's four files; without it, invented images of its size take their place.
Needs pytest beside what stages need, as the compositions are those of the contract suites.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddpipe import config, device, settings
from ddpipe.files.artifacts import read_tensors
from ddpipe.meter import Meter
from tests.gpu import scenes

ROUNDING = 2e-3  # relative, of what two iterations of float32 on two devices may differ by


class Over(BaseException):
    """The time is up."""


class Report:
    """What was found, told as it is found and kept in OUT/check.json."""

    def __init__(self, out: Path, seconds: float, where: torch.device, threads: int):
        self.out, self.end, self.where, self.threads = out, time.monotonic() + seconds, where, threads
        self.began = time.monotonic()
        self.found: dict[str, Any] = {"lines": [], "errors": {}}

    def settings(self, graphs: bool) -> settings.Run:
        return settings.Run(device=self.where.type, threads=self.threads, graphs=graphs)  # type: ignore[arg-type]

    def left(self) -> float:
        return self.end - time.monotonic()

    def say(self, line: str) -> None:
        self.found["lines"].append(line)
        print(f"[{time.monotonic() - self.began:5.0f} s] {line}", flush=True)

    def note(self, section: str, name: str, value: Any) -> None:
        self.found.setdefault(section, {})[name] = value

    @contextlib.contextmanager
    def guarded(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.found["errors"][name] = traceback.format_exc(limit=-6)
            self.say(f"LOOK {name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            if self.where.type == "cuda":
                torch.cuda.empty_cache()

    def write(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "check.json").write_text(json.dumps(self.found, indent=1, default=str))

    def timed(self, call: Callable[[], Any], most: float) -> float:
        """Median milliseconds of a call, after one in which the device warms up."""
        call()
        taken: list[float] = []
        while len(taken) < 2 or sum(taken) < 1000 * most and len(taken) < 100:
            meter = Meter(self.where)
            call()
            taken.append(1000 * meter.seconds())
        return statistics.median(taken)

    def peak(self, call: Callable[[], Any]) -> float:
        """MiB of the device's memory at the most during a call; 0 on a CPU."""
        if self.where.type != "cuda":
            return 0.0
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() / 2**20


def off(a: Tensor, b: Tensor) -> float:
    """How far `b` lies from `a`, relative to it."""
    a, b = (x.detach().double().cpu() for x in (a, b))
    return float((a - b).norm() / a.norm().clamp_min(1e-30))


def judged(difference: float) -> str:
    return "" if difference < ROUNDING else "  LOOK"


def about(report: Report, world: "scenes.World") -> None:
    report.note("about", "device", device.describe(report.where))
    report.note("about", "versions", device.versions())
    report.say(f"{device.describe(report.where)}, {device.versions()}")
    if report.where.type == "cuda":
        x, w = torch.randn(64, 128, 16, 16), torch.randn(128, 128, 3, 3)
        exact = torch.nn.functional.conv2d(x.double(), w.double(), padding=1)
        error = off(exact, torch.nn.functional.conv2d(x.cuda(), w.cuda(), padding=1))
        report.say(f"a convolution's float32 error {error:.1e} (1e-6: float32, 3e-4: TF32){judged(100 * error)}")


def compositions(report: Report, world: "scenes.World") -> None:
    """Two iterations of every composition of the contract suites, and two more from its state."""
    for name, run_on in scenes.compositions():
        with report.guarded(f"composition {name}"):
            here, there = run_on(torch.device("cpu")), run_on(report.where)
            for run in (here, there):
                run.advance()
                run.advance()
            there.check_finite()
            mine, theirs = there.state_dict(), here.state_dict()
            floats = [key for key, value in theirs.items() if value.is_floating_point() and value.norm() > 0]
            worst = max((off(theirs[key], mine[key]), key) for key in floats)
            again = run_on(report.where)
            again.load_state_dict({key: value.detach().cpu().clone() for key, value in mine.items()})
            for run in (there, again):
                run.advance()
            ends = [run.state_dict() for run in (there, again)]
            resumed = max(off(ends[0][key], ends[1][key]) for key in floats)
            report.note("compositions", name, {"off": worst, "resumed": resumed})
            report.say(
                f"{name}: off {worst[0]:.1e} ({worst[1]}), resumed {resumed:.1e}{judged(max(worst[0], resumed))}"
            )


def experts(report: Report, world: "scenes.World") -> None:
    """The way of a network through one pass: alone, and the first of four at once."""
    for name, numbers in scenes.EXPERTS.items():
        with report.guarded(f"experts {name}"):
            runs = [scenes.cohort(world.digits, where, size, numbers) for where, size in
                    ((torch.device("cpu"), 1), (report.where, 1), (report.where, 4))]  # fmt: skip
            starts = [run.snapshots()[0].clone() for run in runs]
            for run in runs:
                run.advance()
            ways = [run.snapshots()[0].cpu() - start.cpu() for run, start in zip(runs, starts, strict=True)]
            alone, first = off(ways[0], ways[1]), off(ways[0], ways[2])
            report.note("experts", name, [alone, first])
            report.say(f"experts, {name}: one off {alone:.1e}, first of four off {first:.1e}")


def evaluation(report: Report, world: "scenes.World") -> None:
    """Accuracies of five networks on ten images a class: on the CPU, on the device alone, and all at once."""
    for name, (architecture, numbers) in scenes.EVALUATIONS.items():
        with report.guarded(f"evaluation {name}"):
            rows = [world.accuracies(architecture, numbers, where, size) for where, size in
                    ((torch.device("cpu"), 1), (report.where, 1), (report.where, 5))]  # fmt: skip
            means = [statistics.mean(row) for row in rows]
            report.note("evaluation", name, rows)
            told = ", ".join(f"{mean:.1f}" for mean in means)
            report.say(f"evaluation, {name}: {told} (CPU, one by one, five at once)")


def stages(report: Report, world: "scenes.World") -> None:
    """The real stages in a copy of the project; a distillation is killed, goes on, and ends as an unbroken one."""
    with tempfile.TemporaryDirectory() as place:
        roots = [Path(place) / name for name in ("whole", "broken")]
        for root in roots:
            for name in ("ddpipe", "stages"):
                shutil.copytree(name, root / name)
            scenes.shrunk(root / "params.yaml", report.where.type)
            stage(report, root, "prepare", "digits")
            stage(report, root, "experts", "digits-trajectories")
        for cell in ("mtt-digits-1",):
            stage(report, roots[1], "distill", cell, kill=f"data/checkpoints/distill/{cell}/*.partial.safetensors")
            for root in roots:
                stage(report, root, "distill", cell)
            stage(report, roots[0], "evaluate", cell)
            whole, broken = (read_tensors(root / f"data/distilled/{cell}/0.safetensors")[0] for root in roots)
            worst = max(off(whole[name], broken[name]) for name in whole if whole[name].is_floating_point())
            report.note("stages", cell, worst)
            report.say(f"{cell}, killed and gone on with: off {worst:.1e} from an unbroken one{judged(worst)}")


def stage(report: Report, root: Path, name: str, key: str, kill: str = "") -> None:
    """Run a stage; with `kill`, only until a file of that pattern is there."""
    before = os.environ.get("PYTHONPATH", "")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), before])}
    command = [sys.executable, "-m", f"stages.{name}", key]
    process = subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while kill and process.poll() is None and not list(root.glob(kill)):
        time.sleep(0.01)
    if kill:
        process.kill()
    told = process.communicate()[0].strip().splitlines() or [""]
    if process.returncode and not kill:
        raise RuntimeError(f"{name} {key}: exit code {process.returncode}: {told[-1]}")


def methods(report: Report, world: "scenes.World") -> None:
    """Milliseconds and memory of an iteration of published cells, their steps captured and not."""
    for name, advance in world.published(report.where):
        if report.left() < 60 and not world.tiny:
            report.say("methods: cut short")
            return
        with report.guarded(f"method {name}"):
            found = []
            for graphs in (True, False):
                device.choose(report.settings(graphs))
                run = advance()
                found += [report.timed(run, 0.1 if world.tiny else 0.7), report.peak(run)]
            report.note("methods", name, dict(zip(("ms", "mb", "plain ms", "plain mb"), found, strict=True)))
            told = "{}: {:.1f} ms an iteration, {:.0f} MiB; not captured {:.1f} ms, {:.0f} MiB"
            report.say(told.format(name, *found))
    device.choose(report.settings(True))


def many_experts(report: Report, world: "scenes.World") -> None:
    """Milliseconds of a step and a network, of so many experts at once, in each precision."""
    for size in (1, 2) if world.tiny else (1, 4, 16):
        for precision in ("float32", "tf32", "bfloat16"):
            with report.guarded(f"{size} experts, {precision}"):
                run, steps = world.wide_cohort(report.where, size, precision)
                ms = report.timed(run.advance, 0.1 if world.tiny else 0.7) / steps / size
                report.note("many experts", f"{size}-{precision}", ms)
                report.say(f"{size} experts, {precision}: {ms:.2f} ms a step and network of width {world.width}")


def many_networks(report: Report, world: "scenes.World") -> None:
    """Milliseconds of a pass and a network, of so many evaluated networks at once."""
    for ipc in (1,) if world.tiny else (1, 10, 50):
        for size in (1, 2) if world.tiny else (1, 5, 20):
            with report.guarded(f"{size} networks at IPC {ipc}"):
                call, passes = world.wide_evaluation(report.where, ipc, size)
                ms = report.timed(call, 0.1 if world.tiny else 1.0) / passes / size
                report.note("many networks", f"{ipc}-{size}", ms)
                report.say(f"IPC {ipc}, {size} networks at once: {ms:.2f} ms a pass and network of width {world.width}")


SECTIONS = (about, compositions, stages, experts, evaluation, methods, many_networks, many_experts)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    asked.add_argument("--seconds", type=float, default=340)
    asked.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "check")))
    asked.add_argument("--mnist", type=Path, default=None)
    asked.add_argument("--only", default=",".join(section.__name__ for section in SECTIONS))
    asked.add_argument("--tiny", action="store_true")
    given = asked.parse_args()
    threads = 1 if given.tiny else min(8, os.cpu_count() or 1)
    report = Report(
        given.out, given.seconds, device.choose(settings.Run(device=given.device, threads=threads)), threads
    )

    def over(number: int, frame: object) -> None:
        raise Over

    signal.signal(signal.SIGALRM, over)
    with tempfile.TemporaryDirectory() as place:
        world = scenes.World(config.load(), Path(place), given.mnist, given.tiny)
        for section in SECTIONS:
            if section.__name__ not in given.only.split(",") or report.left() < 1:
                continue
            signal.alarm(max(1, int(report.left())))
            try:
                report.say(f"== {section.__name__}")
                with report.guarded(section.__name__):
                    section(report, world)
            except Over:
                report.say(f"the time is up in {section.__name__}")
            signal.alarm(0)
            report.write()
    marked = sum("LOOK" in line for line in report.found["lines"])
    report.say(f"done; {marked} lines to look at, errors in {sorted(report.found['errors']) or 'none'}")
    report.write()
    raise SystemExit(bool(report.found["errors"]))


if __name__ == "__main__":
    main()
