"""Targets of a set: on which scale, and whether they are learned."""

from typing import Literal

from ddpipe.settings.base import Settings, needed
from ddpipe.settings.bounds import Switch
from ddpipe.settings.protocol import Scale


class Labels(Settings):
    """The budget counts images: learned targets, K numbers an example, are not part of it, as in the papers."""

    scale: Scale = "one-hot"  # centred: less 1 / K, for squared errors (KIP, FRePo)
    learned: Switch = False  # as the group `targets` of `outer`; distributions are kept such after each step (LD)
    init: Literal["hard", "uniform"] = "hard"  # the example's class, or no class

    def stated(self) -> dict[str, str]:
        return needed(*type(self).model_fields)
