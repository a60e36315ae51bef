"""Networks trained by squared errors at a share of the largest stable step size of each (KIP's transfer)."""

from typing import Literal

from pydantic import model_validator

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Few
from ddpipe.settings.taught import Taught


class Critical(Taught):
    """Its `lr` is the share."""

    kind: Literal["critical"]
    images: Few = 50  # of the set, by which the largest step size is found, at the most

    def stated(self) -> dict[str, str]:
        return super().stated() | needed("images")

    @model_validator(mode="after")
    def has_a_largest_step(self) -> "Critical":
        if self.criterion != "squared-error" or self.learned_lr:
            raise ValueError(
                "criterion must be squared-error and lr be stated: a share of the largest stable step size"
            )
        return self
