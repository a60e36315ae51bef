"""A ridge regression on the features of a network that goes on learning from the set."""

from typing import Any, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Positive, Share
from ddpipe.settings.glimpse import Glimpsing
from ddpipe.settings.part import halved
from ddpipe.settings.work import Cell, Work, times


class Regression(Glimpsing):
    reference = "LD (Bohdal et al., 2020), its first-order variant with ridge regression; survey, the text after Eq. 11"
    section = "3.1"

    name: Literal["regression"]
    regularisation: Positive = 1.0  # lambda
    mixing: Share = 0.01  # of the newest regression in the weights
    scale_lr: Positive = 0.01  # Adam's, of the factor of the logits

    def stated(self) -> dict[str, str]:
        return needed("batch", "subset", "regularisation", "mixing", "scale_lr")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=self.batch)

    def work(self, cell: Cell) -> Work:
        """Two gradients on the set, one of the labels and one of the weights; the real batch is only looked at."""
        images, real = self.seen(cell)
        work = self.looking(cell)
        work[cell.operation("forward"), real] += 1
        work[cell.operation("weight gradient"), images] += 2
        return times(cell.chosen.iterations, work)
