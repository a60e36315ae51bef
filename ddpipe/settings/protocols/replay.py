"""The steps by which the set was learned, taken again by new networks (DD's evaluation)."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from ddpipe.settings.protocol import FITTING, Protocol, Scale
from ddpipe.settings.training import Criterion


class Replay(Protocol):
    kind: Literal["replay"]
    criterion: Criterion = "cross-entropy"

    @property
    def requires(self) -> dict[str, str]:
        """A step size a step; `blocks`: the block of each example, where steps go through several of them in turn."""
        return {"lr": "T", "blocks?": "V"}

    @property
    def scales(self) -> tuple[Scale, ...]:
        return FITTING[self.criterion]

    def counted(self, n: int, known: Mapping[str, int]) -> Counter[int] | None:
        return Counter({n // known.get("S", 1): known["T"]}) if "T" in known else None
