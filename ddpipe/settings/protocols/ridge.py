"""Kernel ridge regression on the set in the features of a network (the evaluation of KIP, FRePo and RFAD)."""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Positive
from ddpipe.settings.protocol import FITTING, Protocol, Scale
from ddpipe.settings.training import SetTraining


class Ridge(Protocol):
    batching: ClassVar[str] = "training.batch"
    kind: Literal["ridge"]
    regularisation: Positive = 1e-6  # times the mean of the kernel's diagonal
    training: SetTraining | None = None  # of the network, on the set, before its features are taken; null: none

    def stated(self) -> dict[str, str]:
        return super().stated() | needed("regularisation", "training")

    @property
    def requires(self) -> dict[str, str]:
        return self.training.hints if self.training else {}

    @property
    def scales(self) -> tuple[Scale, ...]:
        return self.training.fits if self.training else FITTING["squared-error"]

    @property
    def batched(self) -> int | None:
        return self.training.batch if self.training else None

    @property
    def embeds(self) -> bool:
        return True

    @property
    def augment(self) -> str:
        return self.training.augment if self.training else "none"

    @property
    def precision(self) -> str:
        return self.training.precision if self.training else "float32"

    def counted(self, n: int, known: Mapping[str, int]) -> Counter[int] | None:
        return self.training.taken(n, known) if self.training else Counter()
