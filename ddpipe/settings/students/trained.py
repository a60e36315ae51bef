"""One network for `outer_loop` iterations, trained on the set between two of them."""

from collections.abc import Iterator
from typing import Any, Literal

from ddpipe.settings.base import Augmentation, needed
from ddpipe.settings.bounds import Positive, PositiveInt
from ddpipe.settings.optimizers import Optimizer
from ddpipe.settings.part import Students, halved
from ddpipe.settings.protocol import FITTING
from ddpipe.settings.work import Cell, Work, one_pass, times


class TrainedStudents(Students, Optimizer):
    reference = "DC and DSA; survey Eq. 20"

    scales = FITTING["cross-entropy"]

    name: Literal["trained"]
    outer_loop: PositiveInt = 1
    inner_loop: PositiveInt = 1  # epochs
    lr: Positive = 0.01
    batch: PositiveInt = 256
    augment: Augmentation = "none"

    def stated(self) -> dict[str, str]:
        return needed("outer_loop", "inner_loop", "lr", *Optimizer.stated(self), "batch", "augment")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=min(self.batch, shown))

    def trainings(self, shown: int, decoded: int) -> Iterator[tuple[int, int]]:
        yield decoded, self.batch

    def work(self, cell: Cell) -> Work:
        """A network is trained between two of its iterations, not before the first and not after the last."""
        networks = -(-cell.chosen.iterations // self.outer_loop)
        epoch = one_pass(cell.shown * cell.styles, self, cell.data.shape, cell.network, 1)
        work = times((cell.chosen.iterations - networks) * self.inner_loop, epoch)
        work[cell.operation("initialise"), 1] += networks
        return work
