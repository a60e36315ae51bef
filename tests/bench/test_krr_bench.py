"""A step of RFAD and FRePo, feature passes and ridge solve, beside straight lines that do the same."""

import time

import pytest
import torch

from ddpipe.device import keep_freed_memory
from tests.bench.turns import compare
from tests.reference.regressing import Scene, composed, straight

LIMIT = 1.05
SHORT = 1.1  # of a step of few milliseconds, where Python's own time counts: looking after lost numbers, schedules
DIGITS = {"classes": 10, "each": 130, "batch": 128, "dtype": torch.float32, "life": 100}
LARGE = {**DIGITS, "side": 28, "depth": 3, "width": 16}
SCENES = {
    "rfad-1": Scene("rfad", 100_000, ipc=1, pool=4, width=32, **DIGITS),
    "rfad-10": Scene("rfad", 100_000, ipc=10, pool=4, width=32, **DIGITS),
    "frepo-1": Scene("frepo", 100_000, ipc=1, pool=10, width=16, **DIGITS),
    "frepo-10": Scene("frepo", 100_000, ipc=10, pool=10, width=16, **DIGITS),
    "rfad-28x28-1": Scene("rfad", 100_000, ipc=1, pool=4, **LARGE),
    "frepo-28x28-1": Scene("frepo", 100_000, ipc=1, pool=10, **LARGE),
}

pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=time.process_time, warmup=False)]


@pytest.mark.parametrize("name", SCENES)
def test_time_of_a_step(benchmark, table, name):
    keep_freed_memory()  # as the stages do
    scene = SCENES[name]
    run, updates = composed(scene), straight(scene)
    mine, plain, ratio = compare(benchmark, run.advance, lambda: next(updates))
    table.append((f"{name}: step", mine * 1000, plain * 1000, "ms", ratio))
    assert ratio <= (SHORT if name in ("frepo-1", "frepo-10") else LIMIT)
