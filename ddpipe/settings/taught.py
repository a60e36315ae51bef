"""What protocols share whose own numbers are those of a training on the set."""

from collections import Counter
from collections.abc import Mapping

from ddpipe.settings.protocol import Protocol, Scale
from ddpipe.settings.training import SetTraining


class Taught(Protocol, SetTraining):
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
