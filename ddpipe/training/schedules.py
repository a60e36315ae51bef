"""How a step size changes in time: a function of what is counted, outer steps or passes, and of how many there are.

Of the number alone, so that a resumed run does what an unbroken one would.
"""

import math

from ddpipe import settings


def rate(config: settings.Optimizer, number: int, total: int) -> float:
    """The step size of `config` at `number` of `total`, counted from 0."""
    return config.lr * factor(config.course, number, total)


def factor(schedule: settings.Schedule, number: int, total: int) -> float:
    """What the step size is multiplied with at `number` of `total`.

    half: 0.1 from total // 2 + 2 on (DC's code). staged: 0.2 from 2 total // 3 on, once more from 5 total // 6 on
    (IDC's code). steps: the given factor, once more from each of the given numbers on. cosine: from 0 along a line
    during the warm-up, then from 1 along half a cosine to the last value, reached at `total` (optax's).
    """
    match schedule:
        case settings.Drop(name="half"):
            return 1.0 if number <= total // 2 + 1 else 0.1
        case settings.Drop(name="staged"):
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
