"""The sizes that are timed: the digits cells, and 28x28 images with a wider network."""

from tests.reference.program import Scene

LARGE = {"side": 28, "depth": 3, "width": 32, "real_batch": 32}
LOOPS = {"outer_loop": 5, "inner_loop": 5}

SCENES = {
    "dm-1": Scene("dm", 1),
    "dm-10": Scene("dm", 10),
    "dc-1": Scene("dc", 1),
    "dc-10": Scene("dc", 10, **LOOPS),
    "dsa-1": Scene("dsa", 1),
    "dsa-10": Scene("dsa", 10, **LOOPS),
    "dm-28x28-1": Scene("dm", 1, **LARGE),
    "dc-28x28-1": Scene("dc", 1, **LARGE),
}
