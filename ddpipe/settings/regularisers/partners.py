"""IT-GAN's second term: an example shall keep the features of the real image that it began as."""

from typing import Any, Literal

from ddpipe.settings.bounds import PositiveInt, Share
from ddpipe.settings.part import Regulariser, halved
from ddpipe.settings.work import Cell, Operation, Work, times


class Partners(Regulariser):
    reference = "IT-GAN (Zhao and Bilen, NeurIPS 2022 workshop SyntheticData4ML)"
    accepts = frozenset({"network"})
    paired = True

    name: Literal["partners"]
    weight: Share  # lambda: the objective's own loss has 1 - lambda
    batch: PositiveInt | None = None  # random examples of each class an iteration; left out: all

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=min(self.batch or shown, shown))

    def work(self, cell: Cell) -> Work:
        """Examples and partners through the student, as the objective's own do."""
        shown = min(self.batch or cell.decoded, cell.decoded)
        images = shown * cell.classes
        work = cell.siamese(shown) + cell.decode(images, 1)
        work[Operation("gather", cell.data.shape), images] += 1
        work[cell.operation("forward"), images] += 1
        work[cell.operation("image gradient"), images] += 1
        return times(cell.chosen.iterations, work)
