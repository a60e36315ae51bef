"""A student's whole training on the set, unrolled and differentiated through."""

import math
from typing import Any, Literal

from pydantic import model_validator

from ddpipe.settings.base import RealAugmentation, needed
from ddpipe.settings.bounds import Few, Fraction, Positive, PositiveInt
from ddpipe.settings.part import Objective, halved
from ddpipe.settings.protocol import FITTING
from ddpipe.settings.work import Cell, Operation, Work, times


class Unroll(Objective):
    reference = "DD (Wang et al., 2018), SLDD (Sucholutsky and Schonlau, 2019), RTP, GTN; survey Eq. 8-13"
    section = "3.1"
    scales = FITTING["cross-entropy"]

    name: Literal["unroll"]
    steps: Few  # T: SGD steps of the student on the set
    # what a step sees: the next of so many ordered blocks of the set, or so many random examples of each class
    blocks: Few | None = None
    examples: PositiveInt | None = None
    lr: Positive = 0.01  # of every step, or where a learned one starts
    rates: Literal["fixed", "softplus", "log"] = (
        "fixed"  # how learned step sizes are kept positive: function or inverse
    )
    momentum: Fraction | None = None  # of every step, or where a learned one starts; left out: plain SGD
    momenta: Literal["fixed", "log"] = "fixed"  # whether momenta are learned (GTN), and what of them
    every: Few | None = None  # the student is judged before each so many-th step too (GTN); left out: after the last
    batch: PositiveInt | None = None  # real images of any class, in passes; left out: `real_batch` of each class
    augment: RealAugmentation = "none"  # of the real batch alone, each image for itself (DD, on CIFAR-10)
    classes: Few | None = None  # random classes that an iteration is about; left out: all
    gradient: Literal["exact", "full"] = "exact"  # by reverse sweep, through one graph

    @model_validator(mode="after")
    def shows_one_thing(self) -> "Unroll":
        if (self.blocks is None) == (self.examples is None):
            raise ValueError("blocks or examples must be set, and not both; leave one of them out (null takes one out)")
        if self.blocks is not None and self.blocks > self.steps:
            raise ValueError(f"steps: {self.steps} steps never see all of {self.blocks} blocks; take as many or more")
        for key, learned in (("rates", self.rates), ("momenta", self.momenta)):
            if learned != "fixed" and self.blocks is None:
                raise ValueError(f"{key}: only steps on ordered blocks can learn them; set it to fixed, or set blocks")
        if self.momenta == "log" and not self.momentum:
            raise ValueError("momentum: a learned one starts above 0; set it, or set momenta to fixed")
        if self.classes is not None and self.batch is not None:
            raise ValueError("classes: a batch in passes has images of all; leave out classes or batch")
        return self

    def stated(self) -> dict[str, str]:
        return needed("lr", "rates", "momentum", "augment", "gradient")

    @property
    def learned(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset(key for key in ("rates", "momenta") if getattr(self, key) != "fixed")

    @property
    def draws_real(self) -> bool:  # type: ignore[override]
        return self.batch is None

    @property
    def replayed(self) -> bool:
        """Whether the steps can be taken again by who has the set: those on blocks in their order."""
        return self.blocks is not None

    @property
    def divides(self) -> int | None:  # type: ignore[override]
        return self.blocks

    @property
    def hints(self) -> dict[str, str]:  # type: ignore[override]
        kept = {} if self.momentum is None else {"momentum": "T"}
        return {"lr": "T", **kept, "blocks?": "V"} if self.replayed else {}

    @property
    def known(self) -> dict[str, int]:  # type: ignore[override]
        return {"T": self.steps, "S": self.blocks or 1} if self.replayed else {}

    @property
    def moves_targets(self) -> bool:
        return True

    @property
    def looks(self) -> list[int]:
        """The steps before which the student is judged; T: after the last."""
        return [t for t in range(1, self.steps) if self.every and t % self.every == 0] + [self.steps]

    def lighter(self, shown: int) -> dict[str, Any]:
        if self.gradient == "full":
            return {"gradient": "exact"}  # holds one step instead of all
        return halved(**({"batch": self.batch} if self.batch else {}), steps=self.steps)

    def work(self, cell: Cell) -> Work:
        """The set decoded once, the student's steps, each pulled back through once, and gradients on real images."""
        classes = min(self.classes or cell.classes, cell.classes)
        whole, share = cell.shown * cell.styles, classes / cell.classes
        own = whole / self.blocks if self.blocks else whole * min(1, (self.examples or 1) / cell.decoded)
        seen, real = math.ceil(share * own), self.batch or classes * cell.real
        work = cell.decode(cell.shown, cell.styles)
        work[cell.operation("flat gradient"), seen] += self.steps
        work[cell.operation("pull back"), seen] += self.steps
        work[cell.operation("flat gradient"), real] += len(self.looks)
        work[Operation("gather", cell.data.shape), real] += len(self.looks)
        if self.augment != "none":
            work[Operation("augment", cell.data.shape, option=self.augment), real] += len(self.looks)
        if cell.chosen.augment != "none":
            work[Operation("siamese gradient", cell.data.shape, option=cell.chosen.augment), whole] += 1
            work[Operation("siamese", cell.data.shape, option=cell.chosen.augment), real] += len(self.looks)
        return times(cell.chosen.iterations, work)
