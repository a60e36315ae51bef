"""What the program asks of the resolved settings of a cell, whether it learns its set or picks it."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ddpipe.settings.base import Settings
from ddpipe.settings.bounds import Few, PositiveInt
from ddpipe.settings.part import Part
from ddpipe.settings.protocol import Scale
from ddpipe.settings.shapes import Shape


class Method(Settings):
    """Resolved settings of a cell: what the program asks of those that learn a set and of those that choose one."""

    if TYPE_CHECKING:  # fields of both, each in its own order
        revision: PositiveInt
        sets: Few

    def parts(self) -> dict[str, Part]:
        """Every part under its key."""
        found = {key: getattr(self, key) for key in type(self).model_fields}
        return {key: part for key, part in found.items() if isinstance(part, Part)}

    @abstractmethod
    def composition(self) -> tuple[str, str, str]:
        """Objective, synthetic set and students in words."""

    def misfits(self) -> Iterator[str]:
        """Why these parts cannot work together, each beginning with the key that is to be changed."""
        return iter(())

    def shown(self, shape: Shape, ipc: int) -> int:
        """Images that a network sees in one pass over the set."""
        return shape.classes * ipc

    def takes(self, ipc: int) -> tuple[int, str]:
        """Real images of a class that are taken, and the key that says so ("": the row's IPC)."""
        return ipc, ""

    def refusal(self, shape: Shape, ipc: int) -> str | None:
        """Why there is no set of so many images per class, beginning with the key to change; None: there is."""
        return None

    def floats(self, shape: Shape, ipc: int) -> int:
        """What one set stores."""
        return shape.classes * ipc * shape.values

    def trainings(self, shape: Shape, ipc: int) -> Iterator[tuple[str, int, int]]:
        """(key, images, images at once) of each training on the set while it is learned."""
        return iter(())

    def augments(self) -> dict[str, str]:
        """Augmentations by their keys."""
        return {}

    @property
    def hints(self) -> dict[str, str]:
        """What stands beside the finished set: name -> shape; ? after a name: not always."""
        return {}

    @property
    def capped(self) -> list[str]:
        """Hints that count what a rule may end, beside each of which another, <name>_capped, counts what it did not."""
        return [name for name in self.hints if f"{name}_capped" in self.hints]

    @property
    def known(self) -> dict[str, int]:
        """Sizes of the letters in these shapes, as far as the settings tell them."""
        return {}

    @property
    def guessed(self) -> dict[str, int]:
        """What numbers among them will be, about, where the settings cannot tell."""
        return {}

    @property
    def floors(self) -> dict[str, tuple[str, float]]:
        """Hints that are kept from falling further: name -> the key that says so, and its value."""
        return {}

    @property
    def scale(self) -> Scale:
        """Of the targets."""
        return "one-hot"

    def lighter(self, shown: int) -> dict[str, Any]:
        """As `Part.lighter`, of all parts, by their keys."""
        return {}

    @property
    def whole(self) -> bool:
        """Whether a set has as many examples as the data: the row's IPC is all."""
        return False

    @property
    def generated(self) -> bool:
        """Whether a generator that the row needs decodes its examples."""
        return False

    @property
    def epochs(self) -> int | None:
        """Epochs of whole trajectories that it follows; None: it follows none."""
        return None

    @property
    def embedded(self) -> bool:
        """Whether it chooses in the features of an expert."""
        return False

    @property
    def steps(self) -> int:
        """Iterations of one set."""
        return 0

    @property
    def distils(self) -> bool:
        """Whether anything of the set is learned, and not only how to train on it (as by rivals of a method)."""
        return False
