"""Seconds of single calls on this device."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from ddpipe.planning import calls, decoding, pairs
from ddpipe.settings.work import Operation

ENOUGH = 0.12  # seconds of repeated calls, after which their median is taken
FEWEST, MOST = 3, 40  # repeats
IMAGES = (1, 8, 64, 512, 4096)  # a call at each of these sizes, as far as they are needed and quick
LIMIT = 1.0  # seconds: no call is begun that will probably take longer, but for the smallest


@dataclass(frozen=True)
class Measure:
    """How an operation is timed: `make` gives a function that does it `repeats` times."""

    make: Callable[[calls.Bench, Operation, int], calls.Call]
    sizes: tuple[int, ...] = IMAGES
    repeats: int = 1  # of what it does, in one call
    waits: bool = False  # for the disk or another process: processor time would miss that


MEASURES = {
    "initialise": Measure(calls.initialise, (1,)),
    "forward": Measure(calls.forward),
    "image gradient": Measure(calls.image_gradient),
    "weight gradient": Measure(calls.weight_gradient),
    "matching": Measure(calls.matching),
    "step": Measure(calls.step, IMAGES[1:]),
    "flat gradient": Measure(calls.flat_gradient),
    "pull back": Measure(calls.pull_back),
    "regress": Measure(calls.regress, IMAGES[1:4]),
    "kernel": Measure(pairs.kernel),
    "kernel gradient": Measure(pairs.kernel_gradient),
    "hallucinate": Measure(decoding.hallucinated),
    "recall": Measure(decoding.recalled),
    "generate": Measure(decoding.generated),
    "imagine": Measure(decoding.imagined),
    "judge": Measure(decoding.judged, IMAGES[1:4]),
    "make": Measure(decoding.made, IMAGES[1:4]),
    "form": Measure(decoding.formed),
    "decode": Measure(decoding.decoded),
    "augment": Measure(calls.augmented, repeats=calls.DRAWS),
    "augment gradient": Measure(calls.augmented_gradient, repeats=calls.DRAWS),
    "siamese": Measure(calls.siamese, repeats=calls.DRAWS),
    "siamese gradient": Measure(calls.siamese_gradient, repeats=calls.DRAWS),
    "gather": Measure(calls.gather, (8, 512)),
    "load": Measure(calls.load, (64, 1024)),
    "whiten": Measure(calls.whiten, (64, 1024)),
    "outer step": Measure(calls.outer_step, (8, 512)),
    "select first": Measure(calls.select_first, (64, 1024)),
    "select next": Measure(calls.select_next, (64, 1024), calls.PICKS),
    "write": Measure(calls.write, (1000, 4_000_000), waits=True),
    "process": Measure(calls.process, (1,), waits=True),
}


def seconds(bench: calls.Bench, operation: Operation, n: int) -> float:
    """Median seconds of one call with n images, the first one left out unless it takes longer than LIMIT."""
    measure = MEASURES[operation.name]
    call = measure.make(bench, operation, n)
    clock = time.process_time if bench.alone and not measure.waits else time.perf_counter

    def once() -> float:
        bench.wait()
        began = clock()
        call()
        bench.wait()
        return (clock() - began) / measure.repeats

    first = once()
    if first * measure.repeats > LIMIT:
        return first
    taken: list[float] = []
    while len(taken) < FEWEST or (sum(taken) * measure.repeats < ENOUGH and len(taken) < MOST):
        taken.append(once())
    return statistics.median(taken)
