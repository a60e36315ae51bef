"""Networks trained from scratch on the set, as those that are made of the real images."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from ddpipe.settings.protocol import Protocol, Scale
from ddpipe.settings.training import SetTraining

STEP = ("lr", "learned_lr")  # what says the step size


class Trained(Protocol, SetTraining):
    quiet = SetTraining.quiet | {"kind"}
    kind: Literal["trained"] = "trained"

    @property
    def requires(self) -> dict[str, str]:
        return self.hints

    @property
    def scales(self) -> tuple[Scale, ...]:
        return self.fits

    @property
    def batched(self) -> int | None:
        return self.batch

    def counted(self, n: int, known: Mapping[str, int]) -> Counter[int] | None:
        return self.taken(n, known)

    def alike(self, other: "Trained") -> bool:
        """Whether networks are trained in the same way but for the step size, whatever their number."""
        asked = Trained.model_fields.keys() - {*STEP, "networks", "sets", "revision", "exceptions"}
        return all(getattr(self, key) == getattr(other, key) for key in asked)
