"""Every synthetic image is learned as it is."""

from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.part import Synthetic
from ddpipe.settings.shapes import Shape


class Pixels(Synthetic):
    reference = "Survey section 2.1, S = {(s_i, y_i)}: DC, DSA, DM"
    learned = frozenset({"images"})

    name: Literal["pixels"]
    init: Literal["real", "noise"] = "real"

    def stated(self) -> dict[str, str]:
        return needed("init")

    def floats(self, shape: Shape, ipc: int) -> int:
        return shape.classes * ipc * shape.values
