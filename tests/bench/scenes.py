"""The sizes that are timed: the digits cells, and 28x28 images with a wider network. And sets whose classes meet in one
distance, of so many classes that one graph of all is a burden."""

from collections.abc import Iterator

from ddpipe.distillation.loop import Distillation
from tests.reference import features, idc, kfs, program
from tests.reference.program import Scene

LARGE = {"side": 28, "depth": 3, "width": 32, "real_batch": 32}
LOOPS = {"outer_loop": 5, "inner_loop": 5}
REAL = {"outer_loop": 10, "inner_loop": 8}

SCENES = {
    "dm-1": Scene("dm", 1),
    "dm-10": Scene("dm", 10),
    "dc-1": Scene("dc", 1),
    "dc-10": Scene("dc", 10, **LOOPS),
    "dsa-1": Scene("dsa", 1),
    "dsa-10": Scene("dsa", 10, **LOOPS),
    "dcc-1": Scene("dcc", 1, **LOOPS),
    "dcc-10": Scene("dcc", 10, **LOOPS),
    "jiang-1": Scene("jiang", 1),
    "jiang-10": Scene("jiang", 10, **LOOPS),
    "idc-1": Scene("idc", 1, **REAL),
    "idc-10": Scene("idc", 10, **REAL),
    "cafe-1": Scene("cafe", 1, **LOOPS),
    "cafe-10": Scene("cafe", 10, **LOOPS),
    "kfs-10": Scene("kfs", 10),
    "dm-28x28-1": Scene("dm", 1, **LARGE),
    "dc-28x28-1": Scene("dc", 1, **LARGE),
    "dcc-28x28-1": Scene("dcc", 1, **LARGE),
    "jiang-28x28-1": Scene("jiang", 1, **LARGE),
    "idc-28x28-1": Scene("idc", 1, **LARGE, **REAL),
    "cafe-28x28-1": Scene("cafe", 1, **LARGE, **LOOPS),
    "kfs-28x28-1": Scene("kfs", 1, **LARGE),
}

HUNDRED = {"side": 16, "num_classes": 100, "per_class": 20, "real_batch": 8}
ALL_CLASS = {  # what has a term in which a hundred classes meet
    "dcc-100-classes": Scene("dcc", 20, **HUNDRED),
    "jiang-100-classes": Scene("jiang", 20, **HUNDRED),
    "cafe-100-classes": Scene("cafe", 20, **LOOPS, **HUNDRED),
}

MANY = {"dc-100-classes": Scene("dc", 1, num_classes=100, per_class=20, real_batch=16)}  # a step of them

PROGRAMS = {"cafe": features, "idc": idc, "kfs": kfs}  # those of the others are alike


def composed(scene: Scene, iterations: int) -> Distillation:
    return PROGRAMS.get(scene.method, program).composed(scene, iterations)


def straight(scene: Scene) -> Iterator[object]:
    return PROGRAMS.get(scene.method, program).straight(scene)
