"""What the composition costs: time and memory of composed runs beside plain programs that do the same.

The two take turns in one process, on one thread, in processor time, so that neither another program nor a warm machine
favours one of them. The median over turns of their ratio must not exceed 1.05. Memory includes Python and torch, and
for the plain programs what torch.optim imports.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ddpipe import networks, settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.objectives import lineup
from ddpipe.randomness import generator
from ddpipe.synthetic import Batch
from ddpipe.training.loop import passes, train
from tests.bench.scenes import ALL_CLASS, MANY, SCENES, composed, straight
from tests.bench.turns import compare
from tests.reference.program import STRATEGY, Scene, one_pass

LIMIT = 1.05
ROOT = Path(__file__).parents[2]

reads_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads a process's peak memory from /proc")
pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=time.process_time, warmup=False)]


@pytest.mark.parametrize("name", SCENES)
def test_time_of_an_outer_step(benchmark, table, name):
    scene = SCENES[name]
    run, updates = composed(scene, iterations=100_000), straight(scene)
    mine, plain, ratio = compare(benchmark, run.advance, lambda: next(updates))
    table.append((f"{name}: outer step", mine * 1000, plain * 1000, "ms", ratio))
    assert ratio <= LIMIT


BY_CLASS = ["dc-1", "dc-10", "dsa-1", "dsa-10", "jiang-1", "jiang-10", "dc-28x28-1", "jiang-28x28-1", "dc-100-classes"]


@pytest.mark.parametrize("name", BY_CLASS)
def test_time_of_classes_one_by_one(benchmark, table, monkeypatch, name):
    """The other way through the classes, which a CPU leaves where it is the slower one."""
    scene = (SCENES | MANY)[name]
    run, updates = composed(scene, iterations=100_000), composed(scene, iterations=100_000)

    def one_by_one() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(lineup, "ALONE", 0)
            updates.advance()

    mine, loop, ratio = compare(benchmark, run.advance, one_by_one)
    table.append((f"{name}: at once, one by one", mine * 1000, loop * 1000, "ms", ratio))
    assert ratio <= 0.95


@pytest.mark.parametrize("ipc", [1, 10])
@pytest.mark.parametrize("strategy", ["none", STRATEGY])
def test_time_of_an_evaluation_network(benchmark, table, ipc, strategy):
    scene = Scene("dm", ipc)
    rules = settings.Trained(epochs=50)
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


def memory(name: str) -> tuple[list[float], list[float]]:
    """Peak MB of the composed program and of the plain one; of each what came with the updates."""
    runs = [
        subprocess.Popen([sys.executable, "-m", "tests.bench.memory", name, program], cwd=ROOT, stdout=subprocess.PIPE)
        for program in ("composed", "straight")
    ]
    peaks, updates = zip(*(map(float, run.communicate()[0].split()) for run in runs), strict=True)
    return list(peaks), list(updates)


@reads_proc
@pytest.mark.parametrize("name", SCENES)
def test_peak_memory(table, name):
    (mine, plain), _ = memory(name)
    table.append((f"{name}: peak memory", mine, plain, "MB", mine / plain))
    assert mine <= LIMIT * plain


@reads_proc
@pytest.mark.parametrize("name", ALL_CLASS)
def test_memory_where_a_hundred_classes_meet(table, name):
    """The plain programs hold one graph of all 2000 images, the composed ones go through them twice, in parts."""
    _, (mine, plain) = memory(name)
    table.append((f"{name}: memory of updates", mine, plain, "MB", mine / plain))
    assert mine <= 0.6 * plain
