"""KFS's latent codes, each through every decoder."""

from collections import Counter
from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Few, PositiveInt
from ddpipe.settings.part import Synthetic
from ddpipe.settings.shapes import Shape
from ddpipe.settings.work import Operation, Work

KERNEL = 4  # of the transposed convolutions, each of which doubles the side


class Decoder(Synthetic):
    """Every image decoded is an example of its own: a pass over the set sees all of them."""

    reference = "KFS (Lee, Lee and Hwang, arXiv 2208.10494, 2022), its decoders designed here; survey section 5"
    factors = "codes, decoders"
    learned = frozenset({"codes", "decoders"})

    name: Literal["decoder"]
    codes: PositiveInt | None = None  # of a class; left out: as many as leave the set worth IPC images a class
    channels: Few  # of a code
    side: Few = 4  # of a code; what is decoded beyond the image's side is cut off around it
    decoders: Few
    width: Few  # channels between the layers of a decoder

    def stated(self) -> dict[str, str]:
        return needed("side")

    @property
    def storing(self) -> tuple[str, ...]:
        return *(() if self.codes is None else ("codes",)), "decoders", "channels", "width"

    def layers(self, shape: Shape) -> int:
        """Transposed convolutions of a decoder: the fewest that reach the image's side, two at least."""
        return max(2, (-(-shape.resolution // self.side) - 1).bit_length())

    def each(self, shape: Shape) -> int:
        """Numbers of one decoder: weights and biases of its layers."""
        channels = [self.channels, *[self.width] * (self.layers(shape) - 1), shape.channels]
        return sum(before * after * KERNEL**2 + after for before, after in zip(channels, channels[1:], strict=False))

    def held(self, shape: Shape, ipc: int) -> int:
        """Codes of a class: as many as fit beside the decoders, one at least (the budget refuses that one, if not)."""
        left = shape.classes * ipc * shape.values - self.decoders * self.each(shape)
        return self.codes or max(1, left // (shape.classes * self.channels * self.side**2))

    def examples(self, shape: Shape, ipc: int) -> int:
        return self.held(shape, ipc) * self.decoders

    def floats(self, shape: Shape, ipc: int) -> int:
        codes = shape.classes * self.held(shape, ipc) * self.channels * self.side**2
        return codes + self.decoders * self.each(shape)

    def decoding(self, shape: Shape, images: int, calls: int) -> Work:
        one = f"{self.channels} {self.side} {self.width}"  # as the calibration reads it
        return Counter({(Operation("decode", shape, option=one), -(-images // self.decoders)): calls * self.decoders})
