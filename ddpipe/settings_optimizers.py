"""How steps are taken, in the same words for what is learned, for students, for experts and for protocols."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ddpipe.bounds import Fraction, Natural, Positive, PositiveInt, Probability
from ddpipe.settings import Settings, needed

EPSILON = {"adam": 1e-8, "adamw": 1e-8, "lamb": 1e-6, "adabelief": 1e-16}  # torch's, optax's and torch_optimizer's


class Steps(Settings):
    """The step size is multiplied with `factor` at each of the numbers `at`."""

    name: Literal["steps"]
    at: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    factor: Positive = 0.1

    def stated(self) -> dict[str, str]:
        return needed("factor")


class Cosine(Settings):
    """The step size rises from 0 along a line, then falls along half a cosine."""

    name: Literal["cosine"]
    warmup: Natural = 0  # how long it rises
    last: Probability = 0.0  # the share of it that is left at the end

    def stated(self) -> dict[str, str]:
        return needed("last")


Schedule = Literal["constant", "half", "staged"] | Annotated[Steps | Cosine, Field(discriminator="name")]


class Clip(Settings):
    """A bound for gradients: for their norm all together, or for the size of each number."""

    norm: Positive | None = None
    value: Positive | None = None

    @model_validator(mode="after")
    def one_of_them(self) -> "Clip":
        if (self.norm is None) == (self.value is None):
            raise ValueError("norm or value must be set, and not both")
        return self


class Optimizer(Settings):
    """`ddpipe/training/optimizers.py` has the formulas."""

    optimizer: Literal["sgd", "adam", "adamw", "lamb", "adabelief"] = "sgd"
    lr: Positive
    momentum: Fraction = 0.0  # sgd's
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)  # the others': decay of the means of the gradient and of its square
    eps: Positive | None = None  # the others', beside a root; left out: as in the code it is taken from
    weight_decay: Probability = 0.0
    schedule: Schedule | None = None  # of lr; left out: constant
    clip: Clip | None = None  # of the gradient; left out: as it is

    @property
    def epsilon(self) -> float:
        return EPSILON[self.optimizer] if self.eps is None else self.eps

    def stated(self) -> dict[str, str]:
        return needed("momentum" if self.optimizer == "sgd" else "betas")

    @model_validator(mode="after")
    def names_what_it_has(self) -> "Optimizer":
        foreign = ("betas", "eps") if self.optimizer == "sgd" else ("momentum",)
        for key in foreign:
            if key in self.model_fields_set:
                raise ValueError(
                    f"{key} is nothing that {self.optimizer} has; leave it out (null takes out an inherited one)"
                )
        return self
