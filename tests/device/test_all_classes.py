"""How much an iteration of a method that goes class by class asks a device for: no more of ten times the classes."""

from typing import Any

import pytest

from ddpipe.objectives import lineup
from tests.device.scenes import Scene, iteration

# recipe, images per class, changed numbers; operations of 10 and of 100 classes, at the most, where no networks train
LIMITS: dict[str, tuple[str, int, dict[str, Any], int, int]] = {
    "dm 1": ("dm", 1, {}, 200, 240),
    "dm 10": ("dm", 10, {}, 200, 240),
    "dc 1": ("dc", 1, {}, 400, 400),
    "dc 2": ("dc", 2, {}, 0, 0),
    "dsa 2": ("dsa", 2, {}, 0, 0),
    "dcc 1": ("dcc", 1, {}, 0, 0),
    "jiang 1": ("jiang", 1, {}, 0, 0),
}
STILL = {"students": {"outer_loop": 1, "inner_loop": 1}}  # a network for each iteration, untrained


def asked(name: str, classes: int) -> tuple[float, ...]:
    recipe, ipc, changed, *_ = LIMITS[name]
    still = {} if recipe == "dm" else STILL
    counts, times = iteration(Scene(recipe, ipc, classes, still | changed), 4)
    return tuple(n / times for n in counts.totals())


if __name__ == "__main__":
    for name in LIMITS:
        print(name, [asked(name, classes) for classes in (10, 100, 200)])
