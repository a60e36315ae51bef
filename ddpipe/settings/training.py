"""How one network is trained on real or synthetic images: protocols and experts say it in the same words."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Self

from pydantic import field_validator, model_validator

from ddpipe.settings import strategy
from ddpipe.settings.base import Augmentation, Settings, needed
from ddpipe.settings.bounds import Few, Fraction, Natural, NonNegative, Positive, PositiveInt, Probability, Switch
from ddpipe.settings.names import Name
from ddpipe.settings.optimizers import Drop, Optimizer, Schedule
from ddpipe.settings.protocol import FITTING, SCALES, Scale

# cross-entropy with distributions; squared-error: half the squared distance from scores, summed over the classes
Criterion = Literal["cross-entropy", "squared-error"]
Precision = Literal["float32", "tf32", "bfloat16"]


class Training(Optimizer):
    """How one network is trained; protocols and experts say it in the same words."""

    epochs: PositiveInt
    extra_epoch: Switch = False  # the DC family's loop runs epochs + 1 passes
    lr: Positive = 0.01
    momentum: Fraction = 0.9
    weight_decay: Probability = 5e-4
    batch: PositiveInt = 256
    # half: lr x 0.1 once pass number epochs // 2 + 2 has finished; staged: x 0.2 after 2/3 and again after 5/6 (IDC)
    drop: Literal["half", "staged", "never"] = "half"  # a `schedule`, in passes, takes its place
    drop_resets_momentum: Switch = True  # the DC family builds a new optimiser there: the momentum buffer is forgotten
    augment: Augmentation = "none"
    cutmix: Probability = 0.0  # of mixing a batch (IDC); the share of each image is uniform
    # of forward and backward passes; weights stay float32. tf32 is rounded so on a GPU alone: a CPU computes float32
    precision: Precision = "float32"

    @property
    def passes(self) -> int:
        """How often the training set is gone through."""
        return self.epochs + self.extra_epoch

    @property
    def course(self) -> Schedule:
        return self.schedule or Drop(name=self.drop)

    @property
    def resets(self) -> bool:
        """Whether the optimiser starts again from rest where lr drops."""
        return self.drop_resets_momentum and self.schedule is None

    def stated(self) -> dict[str, str]:
        resets = () if self.drop == "never" else ("drop_resets_momentum",)
        drops = {} if self.schedule else {"drop": "this key is missing; add it, or a schedule"} | needed(*resets)
        mixes = ("cutmix",) if self.augment.startswith(strategy.IDC) else ()
        return needed("lr", *super().stated(), "weight_decay", "batch") | drops | needed("augment", *mixes)


class SetTraining(Training):
    """How a network is trained on a distilled set: in passes or in steps, against distributions or against scores."""

    quiet = Training.quiet | {"steps", "learned_steps", "subsets", "criterion", "hard"}
    epochs: Natural = 0
    steps: Natural = 0  # in place of epochs: passes without end until so many; each is a pass to lr's schedule
    learned_steps: Switch = False  # the number of steps that was learned with the set takes their place (LD)
    subsets: Switch = False  # each step takes `batch` random examples, drawn anew, in place of its turn in a pass (LD)
    learned_lr: Switch = False  # the step size that was learned with the set takes the place of lr (MTT)
    criterion: Criterion = "cross-entropy"
    hard: Switch = False  # the class of each target's largest number, one-hot, in its place (DC-BENCH on KIP's sets)

    @field_validator("optimizer")
    @classmethod
    def is_torchs(cls, optimizer: str) -> str:
        if optimizer not in ("sgd", "adam", "adamw"):
            raise ValueError("must be sgd, adam or adamw in a protocol: an exported set is trained on with torch alone")
        return optimizer

    def stated(self) -> dict[str, str]:
        asked = super().stated()
        if self.stepwise:
            asked |= needed("subsets") if self.learned_steps else {}
        else:
            asked |= {"epochs": "this key is missing; add it, or steps or learned_steps in its place"} | needed(
                "extra_epoch"
            )
        if self.learned_lr:
            return {key: about for key, about in asked.items() if key != "lr"}
        return asked | {"lr": "this key is missing; add it, or learned_lr: true for the one learned with the set"}

    @model_validator(mode="after")
    def counts_one_thing(self) -> "SetTraining":
        if self.learned_steps and (self.epochs or self.steps):
            raise ValueError("learned_steps takes the place of epochs and steps; leave them out")
        if not self.learned_steps and (self.epochs == 0) == (self.steps == 0):
            raise ValueError("epochs or steps must be a number above 0, and not both; leave one of them out")
        if self.stepwise and self.extra_epoch:
            raise ValueError("extra_epoch is of no meaning with steps; leave it out")
        if self.subsets and not self.stepwise:
            raise ValueError("subsets are of no meaning with epochs; leave it out, or count steps")
        return self

    @property
    def stepwise(self) -> bool:
        """Whether it counts steps in place of passes."""
        return self.steps > 0 or self.learned_steps

    @property
    def hints(self) -> dict[str, str]:
        """What it needs to know of the set, as `Protocol.requires`."""
        return dict.fromkeys([name for name in ("lr", "steps") if getattr(self, f"learned_{name}")], "")

    @property
    def fits(self) -> tuple[Scale, ...]:
        """The scales of targets that its criterion is for."""
        return SCALES if self.hard else FITTING[self.criterion]

    def paced(self) -> Self:
        """The same with an epoch for each step, where it counts steps: so `training/loop.py` goes through them."""
        return self.model_copy(update={"epochs": self.steps, "steps": 0}) if self.steps else self

    def taken(self, n: int, known: Mapping[str, int] = MappingProxyType({})) -> Counter[int] | None:
        """Images in a step -> how many such steps it takes on n images; None where that is learned with the set.

        Args:
            known: `steps` of the set, if that is known.
        """
        steps = known.get("steps") if self.learned_steps else self.steps
        if steps is None:
            return None
        if self.subsets:
            return Counter({min(n, self.batch): steps})
        first, last = divmod(n, self.batch)
        rounds, left = divmod(steps, first + bool(last)) if steps else (self.passes, 0)
        found = Counter({self.batch: rounds * first + min(left, first)})
        found[last] += rounds * bool(last) + max(0, left - first)
        return +Counter({images: steps for images, steps in found.items() if images})


class Flat(Settings):
    """FTD's steps towards flat minima: GSAM with the adaptive perturbation."""

    rho: Positive = 0.01  # radius of the perturbation
    alpha: NonNegative = 1.0  # weight of the surrogate gap
    adaptive: Switch = True  # the perturbation is scaled by the weights

    def stated(self) -> dict[str, str]:
        return needed("rho", "alpha", "adaptive")


class Experts(Training):
    """One buffer of networks trained on the real data (`experts:` of params.yaml; output data/experts/<key>)."""

    aside = Training.aside | {"data", "network"}  # names, which rows that use it must name too
    data: Name
    network: Name
    networks: Few
    keep: Literal["last", "all"] = "last"  # all: the start and every epoch, which trajectory matching needs
    dtype: Literal["float32", "float16"] = "float32"  # of the weights on disk
    flat: Flat | None = None
    revision: PositiveInt = 1

    def stated(self) -> dict[str, str]:
        return super().stated() | needed("keep", *(("flat",) if self.keep == "all" else ()))  # null: plain SGD
