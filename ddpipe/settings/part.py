"""What the parts of a method declare beside their numbers: one record, a settings class, for each part.

A record is the only class of its module, `ddpipe/settings/<family>/<name>.py`; the mathematics lies in
`ddpipe/<family>/<name>.py`, whose `make` gets the record and the `Context`. Everything that must know about a part asks
its record: `compose`, `ddpipe check`, `plan` and `explain`, the report and the contract tests. So a new part is its
record, its module and its tests, and nothing has to be told that it exists.
"""

import pkgutil
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Annotated, Any, ClassVar, Union

from pydantic import Field

from ddpipe.settings.base import Settings
from ddpipe.settings.protocol import SCALES, Scale
from ddpipe.settings.shapes import Shape
from ddpipe.settings.work import Cell, Work

SETTINGS, PROGRAM = "ddpipe.settings.", "ddpipe."


class Part(Settings):
    """A part of a method. Its `name` is that of its module."""

    reference: ClassVar[str]  # the paper, and where the survey speaks of it
    scales: ClassVar[tuple[Scale, ...]] = SCALES  # of targets that it can use
    learned: ClassVar[frozenset[str]] = frozenset()  # groups of what it learns: keys of `outer`

    @property
    def word(self) -> str:
        """What a file calls it: the name of its module."""
        return type(self).__module__.rpartition(".")[2]

    def lighter(self, shown: int) -> dict[str, Any]:
        """Values of its keys with which an iteration takes less memory; the key that changes no number first.

        Args:
            shown: images of the set that one pass over it sees.
        """
        return {}

    def work(self, cell: Cell) -> Work:
        """What it does for one set, all iterations together."""
        return Counter()

    def trainings(self, shown: int, decoded: int) -> Iterator[tuple[int, int]]:
        """(images, images at once) of each training that it does on the set: the batch may be too small.

        Args:
            shown, decoded: images of the set that one pass over it sees, and that can be decoded from it.
        """
        return iter(())


class Synthetic(Part):
    """A parametrisation: what is learned (survey section 5)."""

    name: str
    factorised: ClassVar[bool] = False  # bases, each shown in several `styles`: `ddpipe.synthetic.Factorised`
    whole: ClassVar[bool] = False  # an example for every training image: the row's IPC is all
    generated: ClassVar[bool] = False  # decoded by a generator that the row needs
    factors: ClassVar[str] = ""  # what it learns in place of images (survey section 5); "": images, or their labels

    @property
    def course(self) -> int | None:
        """Parts of which a block of the set is made, where these are its own and not its images; None: it has none."""
        return None

    @property
    def styles(self) -> int:
        """Examples that are decoded from each base."""
        return 1

    @property
    def paired(self) -> bool:
        """Whether each example knows the real image that it began as: `ddpipe.synthetic.paired.Paired`."""
        return False

    @property
    def partial(self) -> bool:
        """Whether there may be classes without examples."""
        return False

    @property
    def storing(self) -> tuple[str, ...]:
        """Keys of the numbers with which it stores less when they are smaller."""
        return ()

    def peopled(self, shape: Shape) -> int:
        """Classes that have examples."""
        return shape.classes

    def examples(self, shape: Shape, ipc: int) -> int:
        """Examples of a class, of those that have any, that one pass over the set sees."""
        return ipc

    @abstractmethod
    def floats(self, shape: Shape, ipc: int) -> int:
        """What one set stores: the budget counts it."""

    def apart(self, shape: Shape) -> int:
        """Numbers that are learned beside the set and are no part of it once it is finished: no budget counts them."""
        return 0

    def takes(self, ipc: int) -> tuple[int, str]:
        """Real images of a class that it begins with, and its key that says so ("": the row's IPC)."""
        return ipc, ""

    def refusal(self, shape: Shape, ipc: int) -> str | None:
        """Why there is no such set of so many images per class, beginning with the key to change; None: there is."""
        return None

    def decoding(self, shape: Shape, images: int, calls: int) -> Work:
        """`calls` times so many images decoded, and the gradient back to what they were made of."""
        return Counter()


class Objective(Part):
    """What the set must imitate (survey sections 3 and 4)."""

    name: str
    section: ClassVar[str] = ""  # of the survey, to which methods with it belong; "": it is no method's own
    accepts: ClassVar[frozenset[str]] = frozenset({"network"})  # what it needs of a student
    draws_real: ClassVar[bool] = True  # batches of `real_batch` real images a class
    hints: ClassVar[dict[str, str]] = {}  # what users of the set have to know: name -> shape, as in files/layout.py
    known: ClassVar[dict[str, int]] = {}  # sizes of the letters in these shapes, where the settings tell them
    floors: ClassVar[dict[str, str]] = {}  # hints that are kept from falling further: name -> key of the smallest value
    divides: ClassVar[int | None] = None  # into how many ordered blocks, which it goes through, it divides the set
    validates: ClassVar[bool] = False  # its loss can be taken on real images of one's own: `validation`

    @property
    def moves_targets(self) -> bool:
        """Whether its gradient reaches the targets, so that they can be learned."""
        return False


class Students(Part):
    """The networks that judge the set."""

    name: str
    gives: ClassVar[frozenset[str]] = frozenset({"network"})
    hints: ClassVar[dict[str, str]] = {}  # as of an objective
    infinite: ClassVar[bool] = False  # they take the kernel of the network at infinite width
    reach: ClassVar[str] = ""  # the keys behind `epochs`, in words

    @property
    def guessed(self) -> dict[str, int]:
        """What numbers among its hints will be, about: for `ddpipe plan` alone."""
        return {}

    def judging(self, cell: Cell, shown: int, real: int) -> Work:
        """What it takes to hold so many images of the set against so many real ones, once, with the way back to the
        former: of those that give a kernel."""
        return Counter()

    @property
    def epochs(self) -> int | None:
        """Epochs that the buffer of experts must hold, whole; None: they need no buffer."""
        return None


class Regulariser(Part):
    """A second player beside the objective."""

    name: str
    accepts: ClassVar[frozenset[str]] = frozenset()  # what it needs of a student beside the objective
    pairs: ClassVar[bool] = False  # compares a base in two styles
    paired: ClassVar[bool] = False  # compares an example with the real image that it began as


class Rule(Part):
    """A rule that picks real images: a baseline of the survey's tables. It has no numbers."""

    embedded: ClassVar[bool] = False  # chooses in the feature space of an expert
    whole: ClassVar[bool] = False  # takes all images


def halved(**numbers: int) -> dict[str, Any]:
    """Half of each number that has one."""
    return {key: number // 2 for key, number in numbers.items() if number > 1}


@cache
def records(family: str) -> dict[str, type[Part]]:
    """name -> record of all parts of a family ("objectives", "synthetic", "students", "regularisers", "selections")."""
    package = import_module(SETTINGS + family)
    found = {}
    for module in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        inside = vars(import_module(f"{package.__name__}.{module}"))
        (found[module],) = [own for own in inside.values() if is_record(own, f"{package.__name__}.{module}")]
    return found


def is_record(found: object, module: str) -> bool:
    return isinstance(found, type) and issubclass(found, Part) and found.__module__ == module


def program(record: Part | type[Part]) -> str:
    """The module with the mathematics of a part, in dots."""
    module = record.__module__
    return PROGRAM + module.removeprefix(SETTINGS)


def one_of(family: str) -> Any:
    """The type of a setting that is one part of `family`, told apart by `name`."""
    kinds = tuple(records(family).values())
    return Annotated[Union[kinds], Field(discriminator="name")] if len(kinds) > 1 else kinds[0]  # noqa: UP007
