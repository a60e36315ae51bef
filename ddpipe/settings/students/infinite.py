"""The network of the row at infinite width: a kernel that is computed, and never drawn."""

from typing import Any, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import PositiveInt
from ddpipe.settings.part import Students, halved
from ddpipe.settings.work import Cell, Work, regression

LARGEST = 2**25  # numbers that are held at once, on a GPU


class InfiniteStudents(Students):
    reference = "KIP (Nguyen et al., ICLR and NeurIPS 2021); survey, the text before Eq. 15"
    gives = frozenset({"kernel"})
    infinite = True

    name: Literal["infinite"]
    kernel: Literal["ntk", "nngp"] = "ntk"  # of the trained network, or of one whose last layer alone is trained
    # numbers of one covariance at once: memory, a few dozen times this, depends on it, and rounding; left out: what is
    # fast on the device
    chunk: PositiveInt | None = None

    def stated(self) -> dict[str, str]:
        return needed("kernel")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(chunk=self.chunk or LARGEST)

    def judging(self, cell: Cell, shown: int, real: int) -> Work:
        """Pairs of the set with real images, and of its own; where images are learned, each is made once more."""
        name = "kernel gradient" if cell.chosen.synthetic.learned else "kernel"
        return regression(cell.operation(name, f"{self.kernel} {self.chunk}"), shown, real)
