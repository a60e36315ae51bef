"""One network for `outer_loop` iterations, trained between two of them: where it begins, on what, how long it lives."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ddpipe.settings import strategy
from ddpipe.settings.base import Augmentation, Settings, needed
from ddpipe.settings.bounds import Natural, Positive, PositiveInt, Probability
from ddpipe.settings.optimizers import Optimizer
from ddpipe.settings.part import Students, halved
from ddpipe.settings.work import Cell, Work, one_pass, one_step, times


class Snapshot(Settings):
    """A snapshot of an expert of the row's buffer, expert and epoch uniform (survey section 8.2)."""

    epochs: tuple[Natural, PositiveInt]  # the first and the last that may be drawn; 0 is before training
    # least and largest share of the weights by which they are moved along two random directions (Acc-DD); null: not
    perturbed: tuple[Positive, Positive] | None = None

    def stated(self) -> dict[str, str]:
        return needed("perturbed")

    @model_validator(mode="after")
    def goes_upwards(self) -> "Snapshot":
        for key in ("epochs", "perturbed"):
            if (ends := getattr(self, key)) and ends[0] > ends[1]:
                raise ValueError(f"{key}: {ends[0]} is above {ends[1]}; the smaller number comes first")
        return self


class TrainedStudents(Students, Optimizer):
    reference = (
        "DC and DSA; survey Eq. 20; several numbers as inner_loop: Jiang et al. (2022); on real data: IDC (Kim et al., "
        "ICML 2022), survey Eq. 27; from a snapshot: Acc-DD (Zhang et al., CVPR 2023), survey section 8.2"
    )
    reach = "students.start.epochs"

    quiet = Optimizer.quiet | {"start", "on", "cutmix"}
    scales = ("one-hot",)

    name: Literal["trained"]
    start: Snapshot | None = None  # null: random weights
    on: Literal["set", "real"] = "set"
    outer_loop: PositiveInt = 1
    # epochs on the set, batches of real data; several: after a network's first iteration, its second, and so on, the
    # last one for all that follow
    inner_loop: PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = 1
    lr: Positive = 0.01
    batch: PositiveInt = 256
    augment: Augmentation = "none"
    cutmix: Probability = 0.0  # of mixing a batch of real data (IDC)

    def stated(self) -> dict[str, str]:
        mixes = ("cutmix",) if self.on == "real" and self.augment.startswith(strategy.IDC) else ()
        return needed("outer_loop", "inner_loop", "lr", *Optimizer.stated(self), "batch", "augment", *mixes)

    @model_validator(mode="after")
    def mixes_real_data(self) -> "TrainedStudents":
        if self.cutmix and self.on == "set":
            raise ValueError("cutmix is for real data; set it to 0, or on to real")
        return self

    @property
    def epochs(self) -> int | None:
        return self.start.epochs[1] if self.start else None

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=self.batch if self.on == "real" else min(self.batch, shown))

    def trainings(self, shown: int, decoded: int) -> Iterator[tuple[int, int]]:
        if self.on == "set":
            yield decoded, self.batch

    def passes(self, served: int) -> int:
        """Epochs, or batches of real data, that a network has been trained when it has served so many iterations and is
        to serve another."""
        if isinstance(self.inner_loop, int):
            return served * self.inner_loop
        return sum(self.inner_loop[:served]) + max(0, served - len(self.inner_loop)) * self.inner_loop[-1]

    def work(self, cell: Cell) -> Work:
        """A network is trained between two of its iterations, not before the first and not after the last."""
        whole, left = divmod(cell.chosen.iterations, self.outer_loop)
        passes = whole * self.passes(self.outer_loop - 1) + self.passes(max(0, left - 1))
        if self.on == "set":
            one = one_pass(cell.classes * cell.decoded, self, cell.data.shape, cell.network, 1)
        else:
            one = one_step(min(self.batch, cell.data.train), self, cell.data.shape, cell.network, 1)
        work = times(passes, one)
        work[cell.operation("initialise"), 1] += whole + bool(left)
        return work
