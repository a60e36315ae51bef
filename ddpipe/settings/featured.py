"""What students say whose kernel is one of finite features."""

from typing import Any

from ddpipe.settings.bounds import PositiveInt
from ddpipe.settings.part import Students, halved
from ddpipe.settings.work import Cell, Work, parts


class Featured(Students):
    gives = frozenset({"kernel"})

    chunk: PositiveInt = 1024  # images of either side in one pass: only memory depends on it

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(chunk=self.chunk)

    def seen(self, cell: Cell, shown: int, real: int) -> Work:
        """What one network does: twice for images of the set that are more than a chunk."""
        work = Work()
        for size, calls in parts(real, self.chunk).items():
            work[cell.operation("forward"), size] += calls
        for size, calls in parts(shown, self.chunk).items():
            work[cell.operation("image gradient"), size] += calls
            if shown > self.chunk:
                work[cell.operation("forward"), size] += calls
        return work
