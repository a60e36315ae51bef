"""One network for `outer_loop` iterations, trained on the set between two of them."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ddpipe.settings.base import Augmentation, Settings, needed
from ddpipe.settings.bounds import Few, Positive, PositiveInt
from ddpipe.settings.optimizers import Optimizer
from ddpipe.settings.part import Students, halved
from ddpipe.settings.protocol import FITTING
from ddpipe.settings.work import Cell, Operation, Work, one_pass, times


class Until(Settings):
    """CAFE's rule, by which a network's loops end before they are over: its last accuracies on fresh real images."""

    window: Few = 10  # accuracies that it looks at; with fewer it ends nothing
    probe: PositiveInt = 128  # real images of a class behind each
    settled: Positive  # a network goes once its last ones, one an iteration, lie closer together than this
    moved: Positive  # a training ends once its last ones, one an epoch, lie further apart than this

    def stated(self) -> dict[str, str]:
        return needed("window", "probe")


class TrainedStudents(Students, Optimizer):
    reference = (
        "DC and DSA; survey Eq. 20; several numbers as inner_loop: Jiang et al. (2022); until: CAFE (Wang et al., CVPR "
        "2022)"
    )

    quiet = Optimizer.quiet | {"until"}
    scales = FITTING["cross-entropy"]

    name: Literal["trained"]
    outer_loop: PositiveInt = 1
    # epochs; several: after a network's first iteration, its second, and so on, the last one for all that follow
    inner_loop: PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = 1
    until: Until | None = None  # ends either loop earlier: outer_loop and inner_loop are the most then
    lr: Positive = 0.01
    batch: PositiveInt = 256
    augment: Augmentation = "none"

    def stated(self) -> dict[str, str]:
        return needed("outer_loop", "inner_loop", "lr", *Optimizer.stated(self), "batch", "augment")

    @model_validator(mode="after")
    def waits_for_a_rule_that_can_end(self) -> "TrainedStudents":
        least = self.inner_loop if isinstance(self.inner_loop, int) else min(self.inner_loop)
        loops = {"outer_loop": self.outer_loop, "inner_loop": least}
        for key, most in loops.items():
            if self.until is not None and most < self.until.window:
                raise ValueError(
                    f"until.window: {self.until.window} accuracies are never seen within {key}: {most}, so the rule "
                    f"would end nothing; lower it to {min(loops.values())}"
                )
        return self

    @property
    def hints(self) -> dict[str, str]:  # type: ignore[override]
        """How often a rule ended a loop, and how often the loop's number did; of no use without a rule."""
        names = ("networks", "networks_capped", "trainings", "trainings_capped") if self.until else ()
        return dict.fromkeys(names, "")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=min(self.batch, shown))

    def trainings(self, shown: int, decoded: int) -> Iterator[tuple[int, int]]:
        yield decoded, self.batch

    def passes(self, served: int) -> int:
        """Epochs that a network has been trained when it has served so many iterations and is to serve another."""
        if isinstance(self.inner_loop, int):
            return served * self.inner_loop
        return sum(self.inner_loop[:served]) + max(0, served - len(self.inner_loop)) * self.inner_loop[-1]

    def work(self, cell: Cell) -> Work:
        """A network is trained between two of its iterations, not before the first and not after the last.

        With a rule nobody knows before: networks serve up to the cap, and a training ends with the first full window of
        accuracies, as nearly all did on real data.
        """
        iterations = cell.chosen.iterations
        whole, left = divmod(iterations, self.outer_loop)
        networks, work = whole + bool(left), Work()
        epochs = whole * self.passes(self.outer_loop - 1) + self.passes(max(0, left - 1))
        if self.until is not None:
            epochs = (iterations - networks) * self.until.window
            seen = cell.classes * min(self.until.probe, cell.data.per_class)
            work[Operation("gather", cell.data.shape), seen] += iterations + epochs
            work[cell.operation("forward"), seen] += iterations + epochs
        work.update(times(epochs, one_pass(cell.shown * cell.styles, self, cell.data.shape, cell.network, 1)))
        work[cell.operation("initialise"), 1] += networks
        return work
