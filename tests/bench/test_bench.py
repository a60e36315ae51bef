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
from ddpipe.randomness import generator
from ddpipe.synthetic import Batch
from ddpipe.training.loop import passes, train
from tests.bench.scenes import SCENES, composed, straight
from tests.bench.turns import compare
from tests.reference.program import STRATEGY, Scene, one_pass

LIMIT = 1.05
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=time.process_time, warmup=False)]


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
