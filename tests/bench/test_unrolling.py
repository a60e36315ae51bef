"""Trajectory matching's three gradients, and RTP's: time and peak memory against the number of steps N.

The exact sweep keeps graphs of steps in the memory that it is lent, and beyond grows with N by the weights of each step
alone. It is no slower than the official computation, in its straight-line version: NOISE is what two runs of a program
differ by on a busy machine. At 8x8 images a step takes 5 ms, and NARROW is what Python adds to them.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddpipe.device import keep_freed_memory
from ddpipe.training import kept
from tests.bench import long_unroll
from tests.bench.unrolling import gradient_of, official_of, scene

pytestmark = [pytest.mark.bench]
ROOT = Path(__file__).parents[2]
STEPS = (10, 20, 50, 100)
LONG = (20, 50, 150, 200)  # RTP's
WIDTH, WEIGHTS = 128, 320_010
NOISE, NARROW = 1.05, 1.1
LENT = kept.LENT / 2**20  # MB for graphs of steps


def say(request: pytest.FixtureRequest, line: str) -> None:
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(line)


def ratio(mine, reference, turns: int) -> tuple[float, float]:
    """Median processor seconds of `mine`, and the median over turns of its ratio to `reference`."""
    times: list[tuple[float, float]] = []
    for _ in range(turns + 1):
        pair = []
        for once in (mine, reference):
            began = time.process_time()
            once()
            pair.append(time.process_time() - began)
        times.append((pair[0], pair[1]))
    return statistics.median(a for a, _ in times[1:]), statistics.median(a / b for a, b in times[1:])


@pytest.mark.parametrize(("width", "steps", "turns"), [(16, 10, 40), (16, 50, 10), (WIDTH, 10, 5), (WIDTH, 50, 2)])
def test_time_against_the_official_computation(request, width, steps, turns):
    keep_freed_memory()  # as the pipeline does; for both
    ours, official = official_of(steps, width)
    for mine, theirs in zip(ours(), official(), strict=True):
        assert (mine - theirs).norm() <= 0.05 * theirs.norm(), "ten steps amplify rounding"
    seconds, times = ratio(ours, official, turns)
    say(
        request,
        f"\nwidth {width}, N {steps}, exact: {1000 * seconds:.0f} ms, {times:.2f} of the official computation's",
    )
    assert times <= (NOISE if width == WIDTH else NARROW)


@pytest.mark.parametrize(("width", "turns"), [(16, 40), (WIDTH, 5)])
@pytest.mark.parametrize("how", ["exact", "truncated"])
def test_time_against_the_full_graph(request, width, turns, how):
    mine, reference = (gradient_of(scene(kind, 10, width), width) for kind in (how, "full"))
    seconds, times = ratio(mine, reference, turns)
    say(request, f"\nwidth {width}, N 10, {how}: {1000 * seconds:.0f} ms, {times:.2f} of the full graph's time")
    assert width < WIDTH or times <= 1.1


def test_compiled_steps_are_faster_than_the_full_graph(request):
    mine = gradient_of(scene("exact", 10, WIDTH, compiled=True), WIDTH)
    began = time.perf_counter()
    mine()
    compiling = time.perf_counter() - began
    seconds, times = ratio(mine, gradient_of(scene("full", 10, WIDTH), WIDTH), 5)
    say(request, f"\nwidth {WIDTH}, N 10, compiled: {1000 * seconds:.0f} ms, {times:.2f}; compiling {compiling:.0f} s")
    assert times < 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's peak memory from /proc")
def test_memory_is_flat_in_the_number_of_steps(request):
    peaks = {}
    for how in ("full", "exact", "truncated"):
        for steps in STEPS:
            command = [sys.executable, "-m", "tests.bench.unrolling", how, str(steps), str(WIDTH), "1"]
            out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
            seconds, peaks[how, steps] = map(float, out.split())
            say(request, f"\nwidth {WIDTH}, N {steps}, {how}: {seconds:.1f} s, {peaks[how, steps]:.0f} MB")
    a_step = 4 * (WEIGHTS + 10 * 3 * 32 * 32) / 2**20  # MB: its weights, and its images' gradient
    for steps in STEPS:
        assert peaks["exact", steps] <= peaks["full", steps] + 50
    grown = peaks["exact", STEPS[-1]] - peaks["exact", STEPS[0]]
    assert grown <= LENT + 1.5 * a_step * (STEPS[-1] - STEPS[0]) + 50
    assert peaks["full", STEPS[-1]] > 1.5 * peaks["exact", STEPS[-1]]


def test_time_of_an_unroll_with_momentum_against_the_full_graph(request):
    mine, reference = (long_unroll.gradient_of(how, 20, 10) for how in ("exact", "full"))
    seconds, times = ratio(mine, reference, 3)
    say(request, f"\nRTP, width {WIDTH}, T 20, 10 images a step: {seconds:.1f} s, {times:.2f} of the full graph's time")
    assert times <= 1.3


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's peak memory from /proc")
def test_memory_of_a_long_unroll_grows_by_the_weights_of_its_steps(request):
    peaks = {}
    for how, steps in [("full", 20), *(("exact", steps) for steps in LONG)]:
        command = [sys.executable, "-m", "tests.bench.long_unroll", how, str(steps), "2"]
        out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        seconds, peaks[how, steps] = map(float, out.split())
        say(
            request,
            f"\nRTP, width {WIDTH}, T {steps}, 2 images a step, {how}: {seconds:.1f} s, {peaks[how, steps]:.0f} MB",
        )
    a_step = 4 * WEIGHTS / 2**20  # MB
    for steps in LONG:
        assert peaks["exact", steps] <= LENT + 1.1 * a_step * steps + 300
    assert peaks["full", 20] > peaks["exact", 20]
