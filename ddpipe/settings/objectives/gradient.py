"""Gradient matching."""

from typing import Any, Literal

from pydantic import model_validator

from ddpipe.settings.base import Settings, needed
from ddpipe.settings.bounds import Natural, PositiveInt, Switch
from ddpipe.settings.part import Objective, halved
from ddpipe.settings.work import Cell, Operation, Work, batch_norm, parts, times


class WarmUp(Settings):
    """How long classes are matched one by one before their scope widens: either ends it (DCC)."""

    networks: Natural  # before this one, counted from 0
    updates: Natural  # of the set by the present network

    def over(self, network: int, update: int) -> bool:
        return network >= self.networks or update >= self.updates


class GradientMatching(Objective):
    reference = (
        "DC (Zhao et al., ICLR 2021), DSA (Zhao and Bilen, ICML 2021), DCC (Lee et al., ICML 2022), Jiang et al. "
        "(2022), IDC (Kim et al., ICML 2022); survey Eq. 20-29"
    )
    section = "4.1"

    quiet = frozenset({"scope", "warmup", "chunk", "weights", "sequential", "batch"})
    scales = ("one-hot",)

    name: Literal["gradient"]
    metric: Literal["ours", "mse", "cos", "magnitude", "l1"] = "ours"
    weights: Literal["all", "convolutions"] = "all"  # whose gradients are compared, as far as the metric looks at them
    scope: Literal["class", "joint", "both"] = "class"  # whose gradients meet: each class's, their mean, both
    warmup: WarmUp | None = None  # until then "class"; null: none
    chunk: PositiveInt = 512  # images of the set whose graphs are held at once where classes meet; only memory

    sequential: Switch = False  # a step for each class, which sees the images as the one before it left them (IDC)
    batch: PositiveInt | None = None  # examples of a class that an iteration sees, drawn anew; null: all

    def stated(self) -> dict[str, str]:
        warmup = ("warmup",) if self.scope != "class" else ()  # null: none
        return needed("metric", *warmup, *(("weights", "batch") if self.sequential else ()))

    @property
    def compares(self) -> str:
        """Metric and weights in words, as an option of the operations that `ddpipe plan` times."""
        return self.metric if self.weights == "all" else f"{self.metric} {self.weights}"

    @model_validator(mode="after")
    def steps_class_by_class(self) -> "GradientMatching":
        if self.sequential and self.scope != "class":
            raise ValueError("sequential steps are of one class each; set scope to class, or sequential to false")
        return self

    @model_validator(mode="after")
    def warms_up_to_something(self) -> "GradientMatching":
        if self.warmup is not None and self.scope == "class":
            raise ValueError("warmup leads from class to another scope; name that one (scope: joint or both)")
        return self

    def lighter(self, shown: int) -> dict[str, Any]:
        own = {} if self.batch is None else {"batch": self.batch}
        return halved(**own) if self.scope == "class" else halved(chunk=min(self.chunk, shown), **own)

    def work(self, cell: Cell) -> Work:
        """For every class the weights' gradient on real images, and on synthetic ones differentiated once more; "joint"
        takes several classes at once, and is counted as if there were no warm-up."""
        seen = min(self.batch or cell.decoded, cell.decoded)
        work = cell.siamese() + cell.decode(cell.bases, cell.classes * cell.styles)
        work[Operation("gather", cell.data.shape), cell.real] += cell.classes
        work[cell.operation("weight gradient", self.compares), cell.real] += cell.classes
        batches = parts(cell.classes, max(1, self.chunk // seen)) if self.scope == "joint" else {1: cell.classes}
        for classes, calls in batches.items():
            work[cell.operation("matching", self.compares), classes * seen] += calls
            if self.scope != "class" and cell.classes * seen > self.chunk:  # once without a graph, once with one
                work[cell.operation("weight gradient", self.compares), classes * seen] += calls
        if self.sequential:  # the first is counted already
            work[Operation("outer step", cell.data.shape), cell.classes * cell.decoded] += cell.classes - 1
        if batch_norm(cell.network):
            work[Operation("gather", cell.data.shape), 16] += cell.classes
            work[cell.operation("forward"), 16 * cell.classes] += 1
        return times(cell.chosen.iterations, work)
