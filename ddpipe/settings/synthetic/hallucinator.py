"""HaBa's bases, each through every hallucinator."""

from collections import Counter
from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Few, PositiveInt
from ddpipe.settings.part import Synthetic
from ddpipe.settings.shapes import Shape
from ddpipe.settings.work import Operation, Work


class Hallucinator(Synthetic):
    reference = "HaBa (Liu et al., NeurIPS 2022); survey Eq. 36"
    factors = "codes, decoders"
    learned = frozenset({"bases", "hallucinators"})
    factorised = True

    name: Literal["hallucinator"]
    init: Literal["real"] = "real"  # random real images as bases
    bases: PositiveInt | None = None  # per class; left out: IPC
    channels: Literal[1] | None = None  # of a base; left out: those of the data; 1: at first the mean over them
    hallucinators: Few = 5

    def stated(self) -> dict[str, str]:
        return needed("hallucinators")

    @property
    def styles(self) -> int:
        return self.hallucinators

    @property
    def storing(self) -> tuple[str, ...]:
        return "bases", "hallucinators"

    def examples(self, shape: Shape, ipc: int) -> int:
        return self.bases or ipc

    def floats(self, shape: Shape, ipc: int) -> int:
        inputs, outputs, side = self.channels or shape.channels, shape.channels, shape.resolution
        affine = 2 * outputs * (side - 2) ** 2  # scale and shift of the maps between two 3x3 convolutions
        convolutions = outputs * inputs * 9 + outputs + outputs * outputs * 9 + outputs
        bases = shape.classes * self.examples(shape, ipc)
        return bases * inputs * side**2 + self.hallucinators * (affine + convolutions)

    def takes(self, ipc: int) -> tuple[int, str]:
        return (ipc, "") if self.bases is None else (self.bases, "synthetic.bases")

    def decoding(self, shape: Shape, images: int, calls: int) -> Work:
        return Counter({(Operation("hallucinate", shape), images): calls})
