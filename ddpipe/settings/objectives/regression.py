"""A ridge regression on the features of a network that goes on learning from the set."""

from collections.abc import Iterator
from typing import Any, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Positive, PositiveInt, Share
from ddpipe.settings.part import Objective, halved
from ddpipe.settings.work import Cell, Operation, Work, times


class Regression(Objective):
    reference = "LD (Bohdal et al., 2020), its first-order variant with ridge regression; survey, the text after Eq. 11"
    scales = ("one-hot",)
    accepts = frozenset({"learner"})
    draws_real = False

    name: Literal["regression"]
    batch: PositiveInt = 1024  # real images of an iteration, in passes over all of them
    subset: PositiveInt = 50  # random examples of the set that a step sees; all of a smaller set
    regularisation: Positive = 1.0  # lambda
    mixing: Share = 0.01  # of the newest regression in the weights
    scale_lr: Positive = 0.01  # Adam's, of the factor of the logits

    def stated(self) -> dict[str, str]:
        return needed("batch", "subset", "regularisation", "mixing", "scale_lr")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=self.batch)

    def trainings(self, shown: int, decoded: int) -> Iterator[tuple[int, int]]:
        yield min(self.subset, decoded), self.subset

    @property
    def moves_targets(self) -> bool:
        return True

    def work(self, cell: Cell) -> Work:
        """Two gradients on the set, one of the labels and one of the weights; the real batch is only looked at."""
        images, real = min(self.subset, cell.classes * cell.decoded), min(self.batch, cell.data.train)
        work = cell.decode(images, 1)
        work[Operation("gather", cell.data.shape), real] += 1
        work[cell.operation("forward"), real] += 1
        work[cell.operation("weight gradient"), images] += 2
        if cell.chosen.augment != "none":
            for name, count in (("augment", real), ("augment gradient", images)):
                work[Operation(name, cell.data.shape, option=cell.chosen.augment), count] += 1
        return times(cell.chosen.iterations, work)
