"""When a distillation ends before its last iteration."""

from typing import TYPE_CHECKING

from ddpipe.settings.base import Settings, needed
from ddpipe.settings.bounds import PositiveInt
from ddpipe.settings.part import Students, one_of

if TYPE_CHECKING:
    AnyStudents = Students
else:
    AnyStudents = one_of("students")

JUDGES = "stop.students"  # their key among the parts


class Stop(Settings):
    """Early stopping: the loss is taken on real training images, before the same students each time, and the run ends
    once it has not been smaller for `patience` iterations; the set that had the smallest is the result (RFAD).
    """

    every: PositiveInt = 40  # iterations between two looks
    patience: PositiveInt = 1000  # iterations
    per_class: PositiveInt = 500  # images of each class, at most what it has; batches go on drawing them too
    students: AnyStudents

    def stated(self) -> dict[str, str]:
        return needed("every", "patience", "per_class")
