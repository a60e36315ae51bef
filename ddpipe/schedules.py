"""How a step size changes: its factor as a function of what is counted, outer steps or passes, and how many there are.

A function of the number alone, so that a resumed run does what an unbroken one would.
"""

import math

from ddpipe import settings_optimizers as settings


def factor(schedule: settings.Schedule | None, number: int, total: int) -> float:
    """What the step size is multiplied with at `number` of `total`, counted from 0; None: 1 always.

    half: 0.1 from number total // 2 + 2 on (DC's code). staged: 0.2 from 2 total // 3 on and 0.04 from 5 total // 6 on
    (IDC's code). steps: once more the given factor from each of the numbers given on. cosine: rises from 0 along a line
    during the warm-up, then falls from 1 along half a cosine and reaches its last value at `total` (optax's).
    """
    match schedule:
        case "half":
            return 1.0 if number <= total // 2 + 1 else 0.1
        case "staged":
            return 0.2 ** sum(number >= part * total // 6 for part in (4, 5))
        case settings.Steps():
            return schedule.factor ** sum(number >= at for at in schedule.at)
        case settings.Cosine():
            if number < schedule.warmup:
                return number / schedule.warmup
            along = min(1.0, (number - schedule.warmup) / max(1, total - schedule.warmup))
            return schedule.last + (1 - schedule.last) * (1 + math.cos(math.pi * along)) / 2
        case _:
            return 1.0
