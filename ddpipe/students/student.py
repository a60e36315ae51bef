"""What students hand to an objective, and what the loop asks of them. `next` is the paper's inner loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.students.kernel import Kernel
from ddpipe.synthetic import Synthetic


class Segment(NamedTuple):
    """A stretch of an expert's trajectory, flat weights on the device of the network."""

    start: Tensor  # (P,) float32
    target: Tensor  # (P,) float32


# gradients of the network's parameters, in order; () percent of the real batch that it got wrong
Learn = Callable[[Sequence[Tensor], Tensor], None]


@dataclass(frozen=True)
class Student:
    """A network that judges the set. The module is reused from step to step; only its weights are new."""

    network: Classifier | None = None  # absent where a kernel judges
    segment: Segment | None = None  # with one, the network gives the architecture alone
    number: int = 0  # of the networks before it
    age: int = 0  # iterations that this network has served already
    learn: Learn | None = None  # a step of its own: of a learner, which the objective goes on training
    kernel: Kernel | None = None  # by which kernel ridge regression judges


class Students(Protocol):
    def next(self, synthetic: Synthetic, rng: Streams, iteration: int) -> Student:
        """The student of `iteration`, counted from 0; iterations come one after another."""

    def hints(self, synthetic: Synthetic) -> dict[str, Tensor]:
        """What users of the finished set have to know."""

    def carried(self) -> dict[str, list[Tensor]]:
        """Weights that go from one iteration to the next, and so may lose their numbers, by the key of their part."""

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...
