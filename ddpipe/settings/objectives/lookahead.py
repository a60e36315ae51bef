"""One step ahead of a network that goes on learning from the set."""

from collections.abc import Iterator
from typing import Any, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Positive, PositiveInt
from ddpipe.settings.part import Objective, halved
from ddpipe.settings.work import Cell, Operation, Work, parts, times


class Lookahead(Objective):
    reference = "LD (Bohdal et al., 2020), its second-order variant; survey section 4.1, the text after Eq. 11"
    scales = ("one-hot",)
    accepts = frozenset({"learner"})
    draws_real = False

    name: Literal["lookahead"]
    batch: PositiveInt = 1024  # real images of an iteration, in passes over all of them
    subset: PositiveInt = 50  # random examples of the set that a step sees; all of a smaller set
    lr: Positive = 0.01  # of the step ahead
    chunk: PositiveInt = (
        256  # real images at once; only memory and rounding depend on it (batch-norm networks take all)
    )

    def stated(self) -> dict[str, str]:
        return needed("batch", "subset", "lr")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(chunk=min(self.chunk, self.batch), batch=self.batch)

    def trainings(self, shown: int, decoded: int) -> Iterator[tuple[int, int]]:
        yield min(self.subset, decoded), self.subset

    @property
    def moves_targets(self) -> bool:
        return True

    def work(self, cell: Cell) -> Work:
        """The weights' gradient on the set, differentiated once more, and the one on the real batch."""
        images, real = min(self.subset, cell.classes * cell.decoded), min(self.batch, cell.data.train)
        work = cell.decode(images, 1)
        work[Operation("gather", cell.data.shape), real] += 1
        for size, calls in parts(real, self.chunk).items():
            work[cell.operation("weight gradient"), size] += calls
        work[cell.operation("pull back"), images] += 1
        if cell.chosen.augment != "none":
            for name, count in (("augment", real), ("augment gradient", images)):
                work[Operation(name, cell.data.shape, option=cell.chosen.augment), count] += 1
        return times(cell.chosen.iterations, work)
