"""Real images that the set's own examples shall look like: a start for what decodes."""

from collections import Counter
from typing import Literal

from ddpipe.settings.bounds import PositiveInt
from ddpipe.settings.part import Objective
from ddpipe.settings.work import Cell, Operation, Work, times


class Reconstruction(Objective):
    reference = "The warm start of KFS, designed here (Lee, Lee and Hwang, 2022, publish none)"
    accepts = frozenset()
    draws_real = False

    name: Literal["reconstruction"]
    batch: PositiveInt | None = None  # random examples of each class a step; left out: all

    def lighter(self, shown: int) -> dict[str, int]:
        return {"batch": self.batch // 2} if self.batch and self.batch > 1 else {}

    @property
    def moves_targets(self) -> bool:
        return False

    def work(self, cell: Cell) -> Work:
        images = min(cell.classes * (self.batch or cell.decoded), cell.shown * cell.styles)
        gathered: Work = Counter({(Operation("gather", cell.data.shape), images): 1})
        return times(cell.chosen.iterations, gathered + cell.decode(images, 1))
