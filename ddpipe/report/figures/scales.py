"""Where a value stands between two ends, and the few round values that are written beside them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

WHOLE, TENTHS, TIME = 20.0, 28.0, 36.0  # points between two written values at least
TIMES = {1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36000: "10 h", 360000: "100 h"}
ROUND = (1, 60, 3600, 360000)


@dataclass(frozen=True)
class Scale:
    """From `low` to `high`; `times` is a logarithmic one of seconds."""

    low: float
    high: float
    times: bool = False

    def place(self, value: float, start: float, end: float) -> float:
        """Between `start` and `end`; what lies beyond stands at the end."""
        inside = min(self.high, max(self.low, value))
        low, high, at = (math.log(v) if self.times else v for v in (self.low, self.high, inside))
        return start + (end - start) * (at - low) / (high - low)

    def ticks(self, length: float) -> list[tuple[float, str]]:
        """Round values between the ends with their words, as many as have room on so many points."""
        if self.times:
            known = [at for at in TIMES if self.low <= at <= self.high]
            for some in (known, [at for at in known if at in ROUND]):
                if len(some) * TIME <= length:
                    break
            return [(float(at), TIMES[at]) for at in some]
        point = (self.high - self.low) / length
        step = next(step for step in _steps() if step >= point * (WHOLE if step >= 1 else TENTHS))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        if last <= first:  # one value tells no scale
            return [(float(end), str(end)) for end in (math.ceil(self.low), math.floor(self.high))]
        return [(i * step, f"{i * step:g}") for i in range(first, last + 1)]


def _steps() -> Iterable[float]:
    """1, 2, 5, 10, 20, 50, ... and before them tenths."""
    for power in range(-1, 9):
        yield from (10.0**power * factor for factor in (1, 2, 5))


def percents(values: Iterable[float]) -> Scale:
    """A scale of accuracies with all finite `values`, no narrower than four points."""
    known = [value for value in values if not math.isnan(value)]
    low, high = min(known, default=0.0), max(known, default=100.0)
    room = max(4.0 - (high - low), 0.06 * (high - low)) / 2
    return Scale(max(0.0, low - room), min(100.0, high + room))


def seconds(values: Iterable[float]) -> Scale:
    """A logarithmic scale with all `values`, which are positive; its ends are written times, one decade or more."""
    known, ends = list(values), list(TIMES)
    low = max((at for at in ends if at <= min(known)), default=min(known))
    high = min((at for at in ends if at >= max(known)), default=max(known))
    return Scale(low, high if high > low else low * 10, times=True)
