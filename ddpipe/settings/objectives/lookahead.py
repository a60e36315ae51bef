"""One step ahead of a network that goes on learning from the set."""

from typing import Any, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Positive, PositiveInt
from ddpipe.settings.glimpse import Glimpsing
from ddpipe.settings.part import halved
from ddpipe.settings.work import Cell, Work, parts, times


class Lookahead(Glimpsing):
    reference = "LD (Bohdal et al., 2020), its second-order variant; survey section 3.1, the text after Eq. 11"
    section = "3.1"

    name: Literal["lookahead"]
    lr: Positive = 0.01  # of the step ahead
    chunk: PositiveInt = 256  # real images at once; only memory and rounding depend on it (batch norm takes all)

    def stated(self) -> dict[str, str]:
        return needed("batch", "subset", "lr")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(chunk=min(self.chunk, self.batch), batch=self.batch)

    def work(self, cell: Cell) -> Work:
        """The weights' gradient on the set, differentiated once more, and the one on the real batch."""
        images, real = self.seen(cell)
        work = self.looking(cell)
        for size, calls in parts(real, self.chunk).items():
            work[cell.operation("weight gradient"), size] += calls
        work[cell.operation("pull back"), images] += 1
        return times(cell.chosen.iterations, work)
