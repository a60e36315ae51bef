"""HaBa's second player."""

from typing import Any, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Fraction, NonNegative, Positive, PositiveInt
from ddpipe.settings.part import Regulariser, halved
from ddpipe.settings.work import Cell, Work, times


class Contrast(Regulariser):
    """An extractor of the student's architecture that is trained beside the set."""

    reference = "HaBa (Liu et al., NeurIPS 2022)"
    scales = ("one-hot",)
    pairs = True

    name: Literal["contrast"]
    weight: Positive = 0.1  # in the set's loss: likeness of a base through two hallucinators
    pull: NonNegative = 0.1  # in the extractor's: unlikeness of the same
    supervised: NonNegative = 0.1  # in the extractor's: supervised contrastive loss; its cross-entropy has weight 1
    temperature: Positive = 0.07
    batch: PositiveInt | None = None  # bases a step; left out: all
    lr: Positive = 0.001  # of the extractor
    momentum: Fraction = 0.9

    def stated(self) -> dict[str, str]:
        return needed("weight", "pull", "supervised", "temperature", "lr", "momentum")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=min(self.batch or shown, shown))

    def work(self, cell: Cell) -> Work:
        """Two views of the bases through the extractor, once for the set and once for itself."""
        shown = cell.classes * cell.bases
        images = min(self.batch or shown, shown)
        work = cell.decode(images, 2)
        work[cell.operation("image gradient"), 2 * images] += 1
        work[cell.operation("weight gradient", "mse"), 2 * images] += 1
        return times(cell.chosen.iterations, work)
