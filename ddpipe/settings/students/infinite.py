"""The network of the row at infinite width: a kernel that is computed, and never drawn."""

from typing import Any, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import PositiveInt
from ddpipe.settings.part import Students, halved
from ddpipe.settings.work import Cell, Operation, Work


class InfiniteStudents(Students):
    reference = "KIP (Nguyen et al., ICLR and NeurIPS 2021); survey, the text before Eq. 15"
    gives = frozenset({"kernel"})
    infinite = True

    name: Literal["infinite"]
    kernel: Literal["ntk", "nngp"] = "ntk"  # of the trained network, or of one whose last layer alone is trained
    # numbers of one covariance at once: memory, about twenty of these, depends on it, and rounding
    chunk: PositiveInt = 2**19

    def stated(self) -> dict[str, str]:
        return needed("kernel")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(chunk=self.chunk)

    def judging(self, cell: Cell, shown: int, real: int) -> Work:
        """Pairs of the set with real images, and of its own; where images are learned, each is made once more."""
        moves = bool(cell.chosen.synthetic.learned)
        operation = Operation(
            "kernel gradient" if moves else "kernel", cell.data.shape, cell.network, f"{self.kernel} {self.chunk}"
        )
        return Work({(operation, shown * real): 1}) + Work({(operation, shown * (shown + 1) // 2): 1})
