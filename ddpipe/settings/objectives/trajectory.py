"""Trajectory matching."""

from collections.abc import Iterator
from typing import Any, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Few, Positive, PositiveInt, Switch
from ddpipe.settings.part import Objective, halved
from ddpipe.settings.protocol import FITTING
from ddpipe.settings.work import Cell, Operation, Work, times


class TrajectoryMatching(Objective):
    reference = "MTT (Cazenavette et al., CVPR 2022), FTD, TESLA, HaBa; survey Eq. 30"
    section = "4.2"
    learned = frozenset({"lr"})
    scales = FITTING["cross-entropy"]
    accepts = frozenset({"segment"})
    draws_real = False
    hints = {"lr": "", "agreement?": ""}
    floors = {"lr": "smallest_lr"}

    name: Literal["trajectory"]
    steps: Few  # N: SGD steps of the student on the set
    batch: PositiveInt | None = None  # images a step; left out: all
    lr: Positive = 0.01  # where the learned step size starts
    smallest_lr: Positive = 1e-4  # it never falls below
    gradient: Literal["exact", "full", "truncated"] = "exact"  # by reverse sweep, through one graph, TESLA's
    factor: Positive = 1.0  # of the images' gradient: TESLA's published code halves it
    soft_labels: Switch = False  # targets assigned by the expert in every iteration (TESLA)

    def stated(self) -> dict[str, str]:
        teslas = ("factor", "soft_labels") if self.gradient == "truncated" else ()
        return needed("lr", "smallest_lr", "gradient", *teslas)

    def lighter(self, shown: int) -> dict[str, Any]:
        if self.gradient == "full":
            return {"gradient": "exact"}  # holds one step instead of all
        return halved(batch=min(self.batch or shown, shown), steps=self.steps)

    def trainings(self, shown: int, decoded: int) -> Iterator[tuple[int, int]]:
        yield shown, self.batch or shown

    @property
    def moves_targets(self) -> bool:
        return not self.soft_labels

    def work(self, cell: Cell) -> Work:
        """The student's steps, each pulled back through once; through the full graph it takes about as long."""
        shown = cell.shown
        images = min(self.batch or shown, shown)
        work = cell.decode(images, self.steps)
        work[cell.operation("flat gradient"), images] += self.steps
        work[cell.operation("pull back"), images] += self.steps
        if cell.chosen.augment != "none":
            work[Operation("augment gradient", cell.data.shape, option=cell.chosen.augment), images] += self.steps
        if self.soft_labels:
            work[cell.operation("forward"), shown * cell.styles] += 1
        return times(cell.chosen.iterations, work)
