"""One network for `outer_loop` iterations, trained on the set between two of them."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from ddpipe.settings.base import Augmentation, needed
from ddpipe.settings.bounds import Positive, PositiveInt
from ddpipe.settings.optimizers import Optimizer
from ddpipe.settings.part import Students, halved
from ddpipe.settings.protocol import FITTING
from ddpipe.settings.work import Cell, Work, one_pass, times


class TrainedStudents(Students, Optimizer):
    reference = "DC and DSA; survey Eq. 20; several numbers as inner_loop: Jiang et al. (2022)"

    scales = FITTING["cross-entropy"]

    name: Literal["trained"]
    outer_loop: PositiveInt = 1
    # epochs; several: after a network's first iteration, its second, and so on, the last one for all that follow
    inner_loop: PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = 1
    lr: Positive = 0.01
    batch: PositiveInt = 256
    augment: Augmentation = "none"

    def stated(self) -> dict[str, str]:
        return needed("outer_loop", "inner_loop", "lr", *Optimizer.stated(self), "batch", "augment")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=min(self.batch, shown))

    def trainings(self, shown: int, decoded: int) -> Iterator[tuple[int, int]]:
        yield decoded, self.batch

    def passes(self, served: int) -> int:
        """Epochs that a network has been trained when it has served so many iterations and is to serve another."""
        if isinstance(self.inner_loop, int):
            return served * self.inner_loop
        return sum(self.inner_loop[:served]) + max(0, served - len(self.inner_loop)) * self.inner_loop[-1]

    def work(self, cell: Cell) -> Work:
        """A network is trained between two of its iterations, not before the first and not after the last."""
        whole, left = divmod(cell.chosen.iterations, self.outer_loop)
        epochs = whole * self.passes(self.outer_loop - 1) + self.passes(max(0, left - 1))
        work = times(epochs, one_pass(cell.shown * cell.styles, self, cell.data.shape, cell.network, 1))
        work[cell.operation("initialise"), 1] += whole + bool(left)
        return work
