"""Every synthetic image is a learned tensor times a learned matrix, the same for all."""

from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.part import Synthetic
from ddpipe.settings.shapes import Shape


class Transformed(Synthetic):
    reference = "RFAD (Loo et al., NeurIPS 2022), its code"
    learned = frozenset({"images", "transform"})

    name: Literal["transformed"]
    init: Literal["real", "noise"] = "real"

    def stated(self) -> dict[str, str]:
        return needed("init")

    def floats(self, shape: Shape, ipc: int) -> int:
        """Of the products alone: they are what is handed over."""
        return shape.classes * ipc * shape.values

    def apart(self, shape: Shape) -> int:
        return shape.values**2
