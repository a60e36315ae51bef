"""Kernel ridge regression on the set, held against real images."""

from typing import Any, Literal

from pydantic import model_validator

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Few, Positive, PositiveInt, Switch
from ddpipe.settings.part import Objective, halved
from ddpipe.settings.protocol import FITTING
from ddpipe.settings.work import Cell, Operation, Work, times


class RidgeRegression(Objective):
    reference = (
        "KIP (Nguyen et al., ICLR and NeurIPS 2021), FRePo (Zhou et al., NeurIPS 2022), RFAD (Loo et al., NeurIPS "
        "2022); survey Eq. 14-17"
    )
    section = "3.2"
    quiet = frozenset({"passes", "batches"})  # of images of any class
    scales = FITTING["squared-error"]
    accepts = frozenset({"kernel"})
    validates = True

    name: Literal["ridge"]
    regularisation: Positive = 1e-6  # times the mean of the kernel's diagonal
    # half the squared distance from scores, summed over the classes (FRePo) or their mean (KIP); platt: cross-entropy
    # of what is predicted times exp(k), of which k is learned, from 0 (RFAD)
    criterion: Literal["squared-error", "mean-squared-error", "platt"] = "squared-error"
    batch: PositiveInt | None = None  # real images of any class; left out: `real_batch` of each class (KIP)
    passes: Switch = True  # over all of them; false: each batch is drawn anew (RFAD)
    batches: Few = 1  # in an iteration
    flipped: Switch = False  # the set's images mirrored beside them, where data allow it: twice the examples (FRePo)
    margin: Switch = False  # targets are pushed apart until their largest numbers are 1 / K from each other (FRePo)

    def stated(self) -> dict[str, str]:
        drawn = () if self.batch is None else ("passes", "batches")
        return needed("regularisation", "criterion", *drawn, "flipped", "margin")

    @model_validator(mode="after")
    def draws_one_way(self) -> "RidgeRegression":
        if self.batch is None and self.model_fields_set & {"passes", "batches"}:
            raise ValueError("batch: passes and batches are for images of any class; set it, or leave them out")
        return self

    @property
    def learned(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"temperature"} if self.criterion == "platt" else ())

    @property
    def draws_real(self) -> bool:  # type: ignore[override]
        return self.batch is None

    @property
    def moves_targets(self) -> bool:
        return True

    def lighter(self, shown: int) -> dict[str, Any]:
        return {} if self.batch is None else halved(batch=self.batch)

    def work(self, cell: Cell) -> Work:
        """The set's images and the real ones as the students' kernel sees them, and the system solved."""
        per_batch = cell.classes * cell.real if self.batch is None else min(self.batch, cell.data.train)
        real, shown = per_batch * self.batches, cell.classes * cell.decoded * (1 + self.flipped)
        work = cell.decode(cell.bases, cell.classes * cell.styles)
        work[Operation("gather", cell.data.shape), real] += 1
        work[Operation("regress", cell.data.shape), shown] += 1
        work.update(cell.chosen.students.judging(cell, shown, real))
        if cell.chosen.augment != "none":
            for name, count in (("augment", real), ("augment gradient", cell.classes * cell.decoded)):
                work[Operation(name, cell.data.shape, option=cell.chosen.augment), count] += 1
        return times(cell.chosen.iterations, work)
