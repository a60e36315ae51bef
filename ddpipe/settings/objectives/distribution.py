"""Distribution matching."""

from typing import Any, Literal

from ddpipe.settings.bounds import PositiveInt
from ddpipe.settings.part import Objective, halved
from ddpipe.settings.work import Cell, Operation, Work, batch_norm, parts, times


class DistributionMatching(Objective):
    reference = "DM (Zhao and Bilen, WACV 2023); survey section 4.3, Eq. 31"
    section = "4.3"

    quiet = frozenset({"batch"})

    name: Literal["distribution"]
    batch: PositiveInt | None = None  # random examples of each class an iteration; left out: all
    # images of both sides at once; only memory depends on it: an accelerator takes more where it has little to do with
    # them (lineup.py), batch-norm networks take all
    chunk: PositiveInt = 512

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(chunk=self.chunk)

    def work(self, cell: Cell) -> Work:
        """Embeddings of the real images without a graph, of the synthetic ones with the way back to the images."""
        shown = min(self.batch or cell.decoded, cell.decoded)
        both = cell.chosen.real_batch + shown
        together = cell.classes if batch_norm(cell.network) else max(1, self.chunk // both)
        work = cell.siamese(shown) + cell.decode(-(-shown // cell.styles), cell.classes * cell.styles)
        for classes, calls in parts(cell.classes, together).items():
            work[Operation("gather", cell.data.shape), classes * cell.real] += calls
            work[cell.operation("forward"), classes * cell.real] += calls
            work[cell.operation("image gradient"), classes * shown] += calls
        return times(cell.chosen.iterations, work)
