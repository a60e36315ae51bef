"""Several new random networks every iteration, whose features together are a kernel."""

from collections import Counter
from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Few, NonNegative, Positive
from ddpipe.settings.featured import Featured
from ddpipe.settings.work import Cell, Work, times


class EnsembleStudents(Featured):
    reference = "RFAD (Loo et al., NeurIPS 2022); survey, the text before Eq. 16"

    name: Literal["ensemble"]
    networks: Few = 8
    # the kernel is scale times the mean over all features of their products, plus shift: a last layer's with weights of
    # variance scale / fan_in and biases of variance shift
    scale: Positive = 2.0
    shift: NonNegative = 0.01

    def stated(self) -> dict[str, str]:
        return needed("networks", "scale", "shift")

    def judging(self, cell: Cell, shown: int, real: int) -> Work:
        return times(self.networks, self.seen(cell, shown, real))

    def work(self, cell: Cell) -> Work:
        return Counter({(cell.operation("initialise"), 1): cell.chosen.iterations * self.networks})
