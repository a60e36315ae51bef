"""A pool of networks that learn from the set, each for so many steps, of which one judges at a time."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Few, Positive, PositiveInt
from ddpipe.settings.featured import Featured
from ddpipe.settings.optimizers import Optimizer
from ddpipe.settings.part import halved
from ddpipe.settings.protocol import FITTING
from ddpipe.settings.work import Cell, Work, one_step, times


class PoolStudents(Featured, Optimizer):
    reference = "FRePo (Zhou et al., NeurIPS 2022); survey Eq. 17 and 18"
    scales = FITTING["squared-error"]

    name: Literal["pool"]
    networks: Few = 10
    life: PositiveInt = 100  # steps after which a network is replaced when it has judged once more
    lr: Positive = 0.0003
    batch: PositiveInt = 1000  # random examples of the set in a step; all of a smaller set

    def stated(self) -> dict[str, str]:
        return needed("networks", "life", "lr", *Optimizer.stated(self), "batch")

    def lighter(self, shown: int) -> dict[str, Any]:
        return super().lighter(shown) | halved(batch=min(self.batch, shown))

    def trainings(self, shown: int, decoded: int) -> Iterator[tuple[int, int]]:
        yield min(self.batch, decoded), self.batch

    def judging(self, cell: Cell, shown: int, real: int) -> Work:
        return self.seen(cell, shown, real)

    def work(self, cell: Cell) -> Work:
        """A step of one network between two iterations, but for those that are replaced."""
        iterations = cell.chosen.iterations
        fresh = iterations // (self.life + 2)
        work = times(
            max(0, iterations - 1 - fresh),
            one_step(min(self.batch, cell.shown * cell.styles), self, cell.data.shape, cell.network, 1),
        )
        return work + Counter({(cell.operation("initialise"), 1): self.networks + fresh})
