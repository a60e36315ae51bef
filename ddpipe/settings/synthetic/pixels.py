"""Every synthetic image is learned as it is."""

from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Few
from ddpipe.settings.part import Synthetic
from ddpipe.settings.shapes import Shape


class Pixels(Synthetic):
    reference = "Survey section 2.1, S = {(s_i, y_i)}: DC, DSA, DM"
    learned = frozenset({"images"})

    name: Literal["pixels"]
    quiet = frozenset({"classes"})
    init: Literal["real", "noise"] = "real"
    classes: Few | None = None  # the first so many have examples; left out: all (SLDD: its targets teach the others)

    def stated(self) -> dict[str, str]:
        return needed("init")

    @property
    def partial(self) -> bool:
        return self.classes is not None

    def peopled(self, shape: Shape) -> int:
        return self.classes or shape.classes

    def floats(self, shape: Shape, ipc: int) -> int:
        return self.peopled(shape) * ipc * shape.values
