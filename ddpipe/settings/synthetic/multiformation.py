"""Images that hold several smaller ones."""

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field

from ddpipe.settings.base import needed
from ddpipe.settings.part import Synthetic
from ddpipe.settings.shapes import Shape
from ddpipe.settings.work import Operation, Work


class MultiFormation(Synthetic):
    reference = "IDC (Kim et al., ICML 2022); survey Eq. 27, S = f(C)"
    factors = "codes"
    learned = frozenset({"images"})

    name: Literal["multiformation"]
    factor: Annotated[int, Field(ge=1, le=8, strict=True)]  # each image is cut into factor x factor examples; 1: IDC-I

    def stated(self) -> dict[str, str]:
        return needed("factor")

    def examples(self, shape: Shape, ipc: int) -> int:
        return ipc * self.factor**2

    def floats(self, shape: Shape, ipc: int) -> int:
        return shape.classes * ipc * shape.values

    def decoding(self, shape: Shape, images: int, calls: int) -> Work:
        return Counter({(Operation("form", shape, option=str(self.factor)), images): calls})
