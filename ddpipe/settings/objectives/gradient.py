"""Gradient matching."""

from typing import Any, Literal

from pydantic import model_validator

from ddpipe.settings.base import Settings, needed
from ddpipe.settings.bounds import Natural, PositiveInt
from ddpipe.settings.part import Objective, halved
from ddpipe.settings.work import Cell, Operation, Work, batch_norm, times


class WarmUp(Settings):
    """How long classes are matched one by one before their scope widens: either ends it (DCC)."""

    networks: Natural  # before this one, counted from 0
    updates: Natural  # of the set by the present network

    def over(self, network: int, update: int) -> bool:
        return network >= self.networks or update >= self.updates


class GradientMatching(Objective):
    reference = (
        "DC (Zhao et al., ICLR 2021), DSA (Zhao and Bilen, ICML 2021), DCC (Lee et al., ICML 2022), Jiang et al. "
        "(2022); survey Eq. 20-26, 28-29"
    )

    quiet = frozenset({"scope", "warmup", "chunk"})
    scales = ("one-hot",)

    name: Literal["gradient"]
    metric: Literal["ours", "mse", "cos", "magnitude"] = "ours"
    scope: Literal["class", "joint", "both"] = "class"  # whose gradients meet: each class's, their mean, both
    warmup: WarmUp | None = None  # until then "class"; null: none
    chunk: PositiveInt = 512  # images of the set whose graphs are held at once where classes meet; only memory

    def stated(self) -> dict[str, str]:
        return needed("metric", *(("warmup",) if self.scope != "class" else ()))  # null: none

    @model_validator(mode="after")
    def warms_up_to_something(self) -> "GradientMatching":
        if self.warmup is not None and self.scope == "class":
            raise ValueError("warmup leads from class to another scope; name that one (scope: joint or both)")
        return self

    def lighter(self, shown: int) -> dict[str, Any]:
        return {} if self.scope == "class" else halved(chunk=min(self.chunk, shown))

    def work(self, cell: Cell) -> Work:
        """For every class the weights' gradient on real images, and on synthetic ones differentiated once more."""
        work = cell.siamese() + cell.decode(cell.bases, cell.classes * cell.styles)
        work[Operation("gather", cell.data.shape), cell.real] += cell.classes
        work[cell.operation("weight gradient", self.metric), cell.real] += cell.classes
        work[cell.operation("matching", self.metric), cell.decoded] += cell.classes
        if self.scope != "class" and cell.classes * cell.decoded > self.chunk:  # once without a graph, once with one
            work[cell.operation("weight gradient", self.metric), cell.decoded] += cell.classes
        if batch_norm(cell.network):
            work[Operation("gather", cell.data.shape), 16] += cell.classes
            work[cell.operation("forward"), 16 * cell.classes] += 1
        return times(cell.chosen.iterations, work)
