"""Gradient matching."""

from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.part import Objective
from ddpipe.settings.work import Cell, Operation, Work, batch_norm, times


class GradientMatching(Objective):
    reference = "DC (Zhao et al., ICLR 2021), DSA (Zhao and Bilen, ICML 2021); survey Eq. 20-24, 28-29"

    scales = ("one-hot",)

    name: Literal["gradient"]
    metric: Literal["ours", "mse", "cos"] = "ours"

    def stated(self) -> dict[str, str]:
        return needed("metric")

    def work(self, cell: Cell) -> Work:
        """For every class the weights' gradient on real images, and on synthetic ones differentiated once more."""
        work = cell.siamese() + cell.decode(cell.bases, cell.classes * cell.styles)
        work[Operation("gather", cell.data.shape), cell.real] += cell.classes
        work[cell.operation("weight gradient", self.metric), cell.real] += cell.classes
        work[cell.operation("matching", self.metric), cell.decoded] += cell.classes
        if batch_norm(cell.network):
            work[Operation("gather", cell.data.shape), 16] += cell.classes
            work[cell.operation("forward"), 16 * cell.classes] += 1
        return times(cell.chosen.iterations, work)
