"""The targets with which kernel ridge regression fits all real images best."""

from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Positive
from ddpipe.settings.part import Objective
from ddpipe.settings.protocol import FITTING
from ddpipe.settings.work import Cell, Operation, Work, times


class LabelSolve(Objective):
    reference = "Label Solve (Nguyen et al., ICLR 2021)"
    section = "3.2"
    scales = FITTING["squared-error"]
    accepts = frozenset({"kernel"})
    draws_real = False

    name: Literal["solve"]
    regularisation: Positive = 1e-6  # times the mean of the kernel's diagonal

    def stated(self) -> dict[str, str]:
        return needed("regularisation")

    @property
    def moves_targets(self) -> bool:
        return True

    def work(self, cell: Cell) -> Work:
        shown = cell.classes * cell.decoded
        work = cell.chosen.students.judging(cell, shown, cell.data.train)
        work[Operation("gather", cell.data.shape), cell.data.train] += 1
        work[Operation("regress", cell.data.shape), shown] += 1
        return times(cell.chosen.iterations, work)
