"""A network that the objective goes on training on the set, until it gains no more."""

from collections import Counter
from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Positive, PositiveInt
from ddpipe.settings.optimizers import Optimizer
from ddpipe.settings.part import Students
from ddpipe.settings.work import Cell, Work


class RestartedStudents(Students, Optimizer):
    reference = "LD (Bohdal et al., 2020)"
    gives = frozenset({"learner"})
    hints = {"steps": ""}

    name: Literal["restarted"]
    lr: Positive = 0.001
    patience: PositiveInt = 50  # iterations without a better sum of so many error rates, after which it is replaced

    def stated(self) -> dict[str, str]:
        return needed("lr", *Optimizer.stated(self), "patience")

    @property
    def guessed(self) -> dict[str, int]:
        """On digits it was six to twelve times the patience."""
        return {"steps": 10 * self.patience}

    def work(self, cell: Cell) -> Work:
        """As often replaced as at the very most: nobody knows before."""
        return Counter({(cell.operation("initialise"), 1): 1 + cell.chosen.iterations // (2 * self.patience + 1)})
