"""How steps are taken, in the same words for what is learned, for students, for experts and for protocols."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from ddpipe.settings.base import UNSTATED, Settings, needed
from ddpipe.settings.bounds import Fraction, Natural, Positive, PositiveInt, Probability

EPS = {"adam": 1e-8, "adamw": 1e-8, "lamb": 1e-6, "adabelief": 1e-16}  # torch's, optax's and torch_optimizer's


class Drop(Settings):
    """At fixed parts of the run: half: x 0.1 once, DC's; staged: x 0.2 twice, IDC's; never."""

    name: Literal["half", "staged", "never"]


class Steps(Settings):
    """x `factor` at each of the numbers `at`."""

    name: Literal["steps"]
    at: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    factor: Positive = 0.1

    def stated(self) -> dict[str, str]:
        return needed("factor")


class Cosine(Settings):
    """Up from 0 along a line, then down along half a cosine."""

    name: Literal["cosine"]
    warmup: Natural = 0  # how long it goes up
    last: Probability = 0.0  # what share of lr is left at the end

    def stated(self) -> dict[str, str]:
        return needed("last")


Schedule = Drop | Steps | Cosine


class Clip(Settings):
    """A bound for a gradient: for its norm, or for each of its numbers."""

    norm: Positive | None = None
    value: Positive | None = None

    @model_validator(mode="after")
    def one_of_them(self) -> "Clip":
        if (self.norm is None) == (self.value is None):
            raise ValueError("norm or value must be set, and not both")
        return self


class Optimizer(Settings):
    """`ddpipe/training/optimizers.py` has the formulas, `schedules.py` beside it what lr does in time."""

    quiet = frozenset({"optimizer", "momentum", "betas", "eps", "weight_decay", "schedule", "clip"})
    optimizer: Literal["sgd", "adam", "adamw", "lamb", "adabelief"] = "sgd"
    lr: Positive
    momentum: Fraction = 0.0  # sgd's
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)  # the others': decay of the means of the gradient and of its square
    eps: Positive | None = None  # the others', beside a root; left out: as in the code that each is taken from
    weight_decay: Probability = 0.0
    schedule: Schedule | None = Field(default=None, discriminator="name")  # of lr; left out: constant
    clip: Clip | None = None  # of the gradient; left out: as it is

    @property
    def epsilon(self) -> float:
        return EPS[self.optimizer] if self.eps is None else self.eps

    @property
    def course(self) -> Schedule:
        """What lr does in time."""
        return self.schedule or Drop(name="never")

    def stated(self) -> dict[str, str]:
        (asked,) = needed("momentum" if self.optimizer == "sgd" else "betas").items()
        return {asked[0]: f"{asked[1]} (optimizer is {self.optimizer})"}

    @model_validator(mode="after")
    def has_only_its_own(self) -> "Optimizer":
        for key in ("betas", "eps") if self.optimizer == "sgd" else ("momentum",):
            if key in self.model_fields_set:
                about = f"{self.optimizer} has no such number; leave it out (in a change, null takes it out)"
                raise PydanticCustomError(UNSTATED, "{about}", {"key": key, "about": about})
        return self
