"""Random real images as they are: nothing of them is learned."""

from typing import Literal

from ddpipe.settings.part import Synthetic
from ddpipe.settings.shapes import Shape


class Real(Synthetic):
    reference = "LD (Bohdal et al., 2020), which learns labels alone"

    name: Literal["real"]

    def floats(self, shape: Shape, ipc: int) -> int:
        return shape.classes * ipc * shape.values
