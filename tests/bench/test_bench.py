"""What the composition costs: time and memory of composed runs beside plain programs that do the same.

The two take turns in one process, on one thread, in processor time, so that neither another program nor a warm machine
favours one of them. The median over turns of their ratio must not exceed 1.05. Memory includes Python and torch, and
for the plain programs what torch.optim imports.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ddpipe import networks, settings
from ddpipe.augment import Augment
from ddpipe.randomness import generator
from ddpipe.synthetic import Batch
from ddpipe.training import passes, train
from tests.bench.scenes import SCENES
from tests.reference.program import STRATEGY, Scene, composed, one_pass, straight

LIMIT = 1.05
ROOT = Path(__file__).parents[2]
SECONDS = 6.0  # of processor time for each comparison
Row = tuple[str, float, float, str, float]  # what, composed, plain, unit, ratio

pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=time.process_time, warmup=False)]


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    """Rows (what, composed, plain, unit), printed when the last benchmark has run."""
    rows: list[Row] = []
    yield rows
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n\n{'':34}{'composed':>12}{'plain':>12}{'ratio':>8}")
        for what, mine, plain, unit, ratio in rows:
            print(f"{what:34}{mine:9.2f} {unit:2}{plain:9.2f} {unit:2}{ratio:8.3f}")


def compare(benchmark, mine: Callable[[], object], plain: Callable[[], object]) -> tuple[float, float, float]:
    """Median processor seconds of both, called in turns, and the median of the ratio within a turn."""
    plain_times: list[float] = []

    def timed_plain() -> None:
        start = time.process_time()
        plain()
        plain_times.append(time.process_time() - start)

    for _ in range(2):  # warm
        timed_plain()
        mine()
    rounds = min(300, max(40, round(SECONDS / 2 / plain_times[-1])))
    plain_times.clear()
    benchmark.pedantic(mine, setup=timed_plain, rounds=rounds)
    times = benchmark.stats.stats.data
    ratios = [a / b for a, b in zip(times, plain_times, strict=True)]
    return statistics.median(times), statistics.median(plain_times), statistics.median(ratios)


@pytest.mark.parametrize("name", SCENES)
def test_time_of_an_outer_step(benchmark, table, name):
    scene = SCENES[name]
    run, updates = composed(scene, iterations=100_000), straight(scene)
    mine, plain, ratio = compare(benchmark, run.advance, lambda: next(updates))
    table.append((f"{name}: outer step", mine * 1000, plain * 1000, "ms", ratio))
    assert ratio <= LIMIT


@pytest.mark.parametrize("ipc", [1, 10])
@pytest.mark.parametrize("strategy", ["none", STRATEGY])
def test_time_of_an_evaluation_network(benchmark, table, ipc, strategy):
    scene = Scene("dm", ipc)
    rules = settings.Protocol(epochs=50)
    labels = torch.arange(scene.num_classes).repeat_interleave(ipc)
    images = torch.randn(len(labels), 1, scene.side, scene.side, generator=generator("images"))
    targets, augment = F.one_hot(labels, scene.num_classes).to(images), Augment(strategy)
    ours, theirs = (networks.initialise_(scene.network(), generator("network")) for _ in range(2))

    def mine() -> None:
        def fetch(index: torch.Tensor | slice) -> Batch:
            return Batch(images[index], targets[index])

        for _ in train(ours, rules, fetch, len(images), augment, generator("train")):
            pass

    def plain() -> None:
        rng = generator("train")
        optimizer = torch.optim.SGD(theirs.parameters(), rules.lr, rules.momentum, weight_decay=rules.weight_decay)
        for number in range(passes(rules)):
            one_pass(theirs, optimizer, images, labels, rules.batch, augment, rng)
            if number == rules.epochs // 2 + 1:
                optimizer = torch.optim.SGD(
                    theirs.parameters(), 0.1 * rules.lr, rules.momentum, weight_decay=rules.weight_decay
                )

    cost, reference, ratio = compare(benchmark, mine, plain)
    augmented = "" if strategy == "none" else ", augmented"
    table.append((f"{10 * ipc} images, 50 passes{augmented}", cost * 1000, reference * 1000, "ms", ratio))
    assert ratio <= LIMIT


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's peak memory from /proc")
@pytest.mark.parametrize("name", SCENES)
def test_peak_memory(table, name):
    runs = [
        subprocess.Popen([sys.executable, "-m", "tests.bench.memory", name, program], cwd=ROOT, stdout=subprocess.PIPE)
        for program in ("composed", "straight")
    ]
    mine, plain = (float(run.communicate()[0]) for run in runs)
    table.append((f"{name}: peak memory", mine, plain, "MB", mine / plain))
    assert mine <= LIMIT * plain
