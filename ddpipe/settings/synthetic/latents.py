"""IT-GAN's latents: one for every training image, decoded by a generator that stays as it is."""

from collections import Counter
from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.generators import Sizes
from ddpipe.settings.part import Synthetic
from ddpipe.settings.shapes import Shape
from ddpipe.settings.work import Operation, Work


class Latents(Synthetic, Sizes):
    """The set is as large as the data, so the row's IPC is all; the sizes are those of the row's generator."""

    reference = "IT-GAN (Zhao and Bilen, NeurIPS 2022 workshop SyntheticData4ML); survey section 5, decoder-based"
    factors = "codes"
    learned = frozenset({"latents"})
    whole = True
    generated = True

    name: Literal["latents"]
    start: Literal["inverted", "drawn"] = "inverted"  # what training images were inverted to, or standard normal noise

    def stated(self) -> dict[str, str]:
        return needed("noise", "width", "start")

    @property
    def paired(self) -> bool:
        return self.start == "inverted"

    def floats(self, shape: Shape, ipc: int) -> int:
        return shape.classes * ipc * self.noise + self.weights(shape)

    def decoding(self, shape: Shape, images: int, calls: int) -> Work:
        return Counter({(Operation("imagine", shape, option=self.option), images): calls})
