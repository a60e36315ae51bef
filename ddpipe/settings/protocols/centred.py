"""Networks trained on the set whose outputs at the start are taken away from them (the evaluation of RFAD)."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Fraction, NonNegative, Positive, PositiveInt
from ddpipe.settings.protocol import FITTING, Protocol, Scale


class Centred(Protocol):
    kind: Literal["centred"]
    lr: Positive = 0.001  # SGD's, constant
    momentum: Fraction = 0.9
    label_scale: Positive = 1.0  # that scores are multiplied by
    pull: NonNegative = 0.0  # times the squared distance from the first weights
    batch: PositiveInt = 513  # images in a step
    steps: PositiveInt = 20_000  # at most
    # real training images of each class: the network that does best on them is kept
    validation: PositiveInt = 500
    every: PositiveInt = 100  # steps between two looks at them
    patience: PositiveInt = 500  # steps without a better one, after which training ends

    def stated(self) -> dict[str, str]:
        own = needed("lr", "momentum", "label_scale", "pull", "batch", "steps", "validation", "every", "patience")
        return super().stated() | own

    @property
    def scales(self) -> tuple[Scale, ...]:
        return FITTING["squared-error"]

    @property
    def batched(self) -> int | None:
        return self.batch

    def counted(self, n: int, known: Mapping[str, int]) -> Counter[int] | None:
        """The most that there can be."""
        return Counter({min(n, self.batch): self.steps})
