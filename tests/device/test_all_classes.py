"""How much an iteration of a method that goes class by class asks a device for: no more of a hundred classes than of
ten, but for operations of the augmentation that nobody drew before.

`python -m tests.device.test_all_classes` prints the numbers.
"""

import pytest

from tests.device.scenes import Scene, iteration

# recipe and images per class -> operations of an iteration of 10 and of 100 classes, at the most, without the training
# of networks. When each class went alone: DM 615 and 5,853, DC 4,440 and 43,950, DSA 4,510 and 44,668
LIMITS = {
    ("dm", 1): (200, 235),
    ("dm", 10): (200, 240),
    ("dc", 1): (385, 385),
    ("dc", 2): (405, 405),
    ("dsa", 2): (515, 560),
    ("dcc", 1): (490, 535),
    ("jiang", 1): (620, 620),
}
STILL = {"students": {"outer_loop": 1, "inner_loop": 1}}  # a network for each iteration, untrained


def asked(recipe: str, ipc: int, classes: int) -> tuple[float, ...]:
    """Operations, copies and waits of an iteration; draws differ, so it is the mean of four."""
    counts, times = iteration(Scene(recipe, ipc, classes, {} if recipe == "dm" else STILL), 4)
    return tuple(n / times for n in counts.totals())


@pytest.mark.parametrize(("recipe", "ipc"), LIMITS)
def test_operations_do_not_grow_with_classes(recipe, ipc, device):
    for classes, most in zip((10, 100), LIMITS[recipe, ipc], strict=True):
        operations, copies, waits = asked(recipe, ipc, classes)
        assert operations <= most
        assert (copies, waits) == (3, 0)  # a network's weights, where classes and rows lie, draws


if __name__ == "__main__":
    for cell in LIMITS:
        print(*cell, [asked(*cell, classes) for classes in (10, 100)])
