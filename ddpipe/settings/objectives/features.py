"""Alignment of the features of all layers."""

from typing import Any, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import NonNegative, PositiveInt
from ddpipe.settings.part import Objective, halved
from ddpipe.settings.work import Cell, Operation, Work, batch_norm, parts, times


class FeatureAlignment(Objective):
    reference = "CAFE (Wang et al., CVPR 2022); survey Eq. 32-34"
    section = "4.3"

    name: Literal["features"]
    earlier: NonNegative = 0.1  # weight of the distance in every map but the last
    last: NonNegative = 1.0  # in the map behind the last nonlinearity
    embedding: NonNegative = 2.0  # in what the classifier sees
    discrimination: NonNegative = 0.01  # weight of the real images' cross-entropies, summed
    # images at once, of either side: memory depends on it, and time where maps stay in a cache; batch norm takes all
    chunk: PositiveInt = 128

    def stated(self) -> dict[str, str]:
        return needed("earlier", "last", "embedding", "discrimination")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(chunk=self.chunk)

    def work(self, cell: Cell) -> Work:
        """Maps of the real images without a graph, of the synthetic ones with the way back to the images; where these
        are more than a chunk, their embeddings once before, as the centres of all classes meet."""
        work = cell.siamese() + cell.decode(cell.bases, cell.classes * cell.styles)
        whole = batch_norm(cell.network)
        for classes, calls in parts(cell.classes, cell.classes if whole else max(1, self.chunk // cell.real)).items():
            work[Operation("gather", cell.data.shape), classes * cell.real] += calls
            work[cell.operation("forward"), classes * cell.real] += calls
        own = parts(cell.classes, cell.classes if whole else max(1, self.chunk // cell.decoded))
        for classes, calls in own.items():
            work[cell.operation("image gradient"), classes * cell.decoded] += calls
            if sum(own.values()) > 1:
                work[cell.operation("forward"), classes * cell.decoded] += calls
        return times(cell.chosen.iterations, work)
