"""What both of LD's objectives say: a few examples of the set and a real batch are all that an iteration sees."""

from collections.abc import Iterator

from ddpipe.settings.bounds import PositiveInt
from ddpipe.settings.part import Objective
from ddpipe.settings.work import Cell, Operation, Work


class Glimpsing(Objective):
    """An objective whose student goes on learning from the set."""

    scales = ("one-hot",)
    accepts = frozenset({"learner"})
    draws_real = False

    batch: PositiveInt = 1024  # real images of an iteration, in passes over all of them
    subset: PositiveInt = 50  # random examples of the set that a step sees; all of a smaller set

    def trainings(self, shown: int, decoded: int) -> Iterator[tuple[int, int]]:
        yield min(self.subset, decoded), self.subset

    @property
    def moves_targets(self) -> bool:
        return True

    def seen(self, cell: Cell) -> tuple[int, int]:
        """Examples of the set, and real images."""
        return min(self.subset, cell.classes * cell.decoded), min(self.batch, cell.data.train)

    def looking(self, cell: Cell) -> Work:
        """What it takes to have them, in one iteration."""
        images, real = self.seen(cell)
        work = cell.decode(images, 1)
        work[Operation("gather", cell.data.shape), real] += 1
        if cell.chosen.augment != "none":
            for name, count in (("augment", real), ("augment gradient", images)):
                work[Operation(name, cell.data.shape, option=cell.chosen.augment), count] += 1
        return work
