"""What a kind of evaluation protocol does: how new networks come to know a set."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import Tensor

from ddpipe import settings
from ddpipe.errors import UserError
from ddpipe.evaluation.data import TrainingSet
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.training.together import Group, together

SETTINGS = "ddpipe.settings.protocols."


class Rule(ABC):
    """The rule of a protocol, of which its module's `make` gives one.

    Beside it lie `exported(protocol, flip, hints)`, what `training` of an exported about.json says, and `words`, that
    in sentences.

    Attributes:
        ticks: how often a network calls `passed` until it is ready, for progress.
    """

    ticks: int = 1

    def gather(self, network: Classifier, size: int) -> Group:
        """`size` networks like `network`, to be used at once."""
        return together(network, size)

    @abstractmethod
    def fit(
        self, group: Group, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> Iterator[Classifier]:
        """New networks that know the set, one for each of `streams`, each to be tested before the next is asked for.

        Args:
            streams: the random numbers of each network: "init" for its weights, "train" for order and augmentation.
            passed: called `ticks` times for every network.

        Raises:
            Diverged: when a loss is no longer a number.
        """

    def images(self, data: TrainingSet) -> int:
        """Images in the largest step of training; 0: nothing is trained, so company gains nothing."""
        return 0

    def brief(self, steps: int) -> "Rule | None":
        """The same, ended after so many steps, each of them a tick, so that it can be timed; None: it is not tried."""
        return None

    def check(self, hints: Mapping[str, Tensor], examples: int, where: str) -> None:  # noqa: B027 (most ask nothing)
        """Whether the set called `where`, of so many examples, can be used with its hints, which are those required.

        Asked before anything runs.

        Raises:
            UserError: in words that begin with a key of the protocol.
        """

    def diverged(self, error: UserError, data: TrainingSet, where: str) -> str:
        """What to do about the `Diverged` of networks on the set called `where`, beginning with a key."""
        return str(error)


def module_of(protocol: settings.Protocol) -> Any:
    """The module of a protocol's kind, found by the module of its record."""
    return import_module(f"ddpipe.evaluation.{type(protocol).__module__.removeprefix(SETTINGS)}")


def make(protocol: settings.Protocol, flip: bool) -> Rule:
    """The rule of `protocol`; `flip` is False where a mirrored image is another class."""
    rule: Rule = module_of(protocol).make(protocol, flip)
    return rule
