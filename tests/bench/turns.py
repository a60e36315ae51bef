"""Two programs timed in turns, so that neither another program nor a warm machine favours one of them."""

import statistics
import time
from collections.abc import Callable

SECONDS = 6.0  # for each comparison


def compare(
    benchmark,
    mine: Callable[[], object],
    plain: Callable[[], object],
    least: int = 40,
    timer: Callable[[], float] = time.process_time,
) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the ratio within a turn.

    Args:
        least: turns; more where they take less than SECONDS together.
        timer: the one that `benchmark` uses.
    """
    plain_times: list[float] = []

    def timed_plain() -> None:
        start = timer()
        plain()
        plain_times.append(timer() - start)

    for _ in range(2):  # warm
        timed_plain()
        mine()
    rounds = min(300, max(least, round(SECONDS / 2 / plain_times[-1])))
    plain_times.clear()
    benchmark.pedantic(mine, setup=timed_plain, rounds=rounds)
    times = benchmark.stats.stats.data
    ratios = [a / b for a, b in zip(times, plain_times, strict=True)]
    return statistics.median(times), statistics.median(plain_times), statistics.median(ratios)
