"""Targets of a set: on which scale, and whether they are learned."""

from typing import Literal

from pydantic import model_validator

from ddpipe.settings.base import Settings, needed
from ddpipe.settings.bounds import Positive, Switch
from ddpipe.settings.protocol import Scale


class Labels(Settings):
    """The budget counts images: learned targets, K numbers an example, are not part of it, as in the papers."""

    quiet = frozenset({"softmax", "factor"})
    # centred: less 1 / K, for squared errors (KIP, FRePo); free: distributions at first, then whatever is best (SLDD)
    scale: Scale = "one-hot"
    learned: Switch = False  # as the group `targets` of `outer`; distributions are kept such after each step (LD)
    init: Literal["hard", "uniform"] = "hard"  # the example's class, or no class
    # distributions are a softmax of what is learned, which begins as `init` says (SLDD): nothing has to keep them such
    softmax: Switch = False

    factor: Positive = 1.0  # that scores are multiplied by at first (FRePo: the root of 10 / K)

    def stated(self) -> dict[str, str]:
        return needed("scale", "learned", "init")

    @model_validator(mode="after")
    def learns_what_it_shapes(self) -> "Labels":
        if self.softmax and not (self.learned and self.scale == "one-hot"):
            raise ValueError("softmax: is taken of learned distributions alone; leave it out, or set learned and scale")
        if self.factor != 1.0 and self.scale != "centred":
            raise ValueError("factor: only scores have one; leave it out, or set scale to centred")
        if self.scale == "free" and not self.learned:
            raise ValueError("scale: only learned targets are free; set it to one-hot, or learned to true")
        return self
