"""Networks trained from scratch on the set, as those that are made of the real images."""

from typing import Literal

from ddpipe.settings.taught import Taught

STEP = ("lr", "learned_lr")  # what says the step size


class Trained(Taught):
    quiet = Taught.quiet | {"kind"}
    kind: Literal["trained"] = "trained"

    def alike(self, other: "Trained") -> bool:
        """Whether networks are trained in the same way but for the step size, whatever their number."""
        asked = Trained.model_fields.keys() - {*STEP, "networks", "sets", "revision", "exceptions"}
        return all(getattr(self, key) == getattr(other, key) for key in asked)
