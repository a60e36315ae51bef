"""RTP's memory: bases that all classes share, and addresses of a class as many as the budget leaves."""

from collections import Counter
from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Few
from ddpipe.settings.part import Synthetic
from ddpipe.settings.shapes import Shape
from ddpipe.settings.work import Operation, Work


class Memory(Synthetic):
    reference = "RTP (Deng and Russakovsky, NeurIPS 2022); survey Eq. 35"
    factors = "codes, decoders"
    learned = frozenset({"bases", "addresses"})

    name: Literal["memory"]
    bases: Few  # K, of all classes together
    downsampling: Few  # an image's side over that of a base

    def stated(self) -> dict[str, str]:
        return needed("bases", "downsampling")

    def basis(self, shape: Shape) -> int:
        """Numbers in one base."""
        return shape.values // self.downsampling**2

    def addresses(self, shape: Shape, ipc: int) -> int:
        """r of a class, K numbers each: what IPC images are worth, less the bases. Below 1 there is no such memory."""
        left = ipc * shape.classes * shape.values - self.bases * self.basis(shape)
        return left // (shape.classes * self.bases)

    def refusal(self, shape: Shape, ipc: int) -> str | None:
        side, budget = shape.resolution, ipc * shape.classes * shape.values
        if side % self.downsampling:
            able = [factor for factor in range(1, side + 1) if side % factor == 0]
            nearest = min(able, key=lambda factor: abs(factor - self.downsampling))
            return f"downsampling: {self.downsampling} does not divide a side of {side} pixels; set it to {nearest}"
        if self.addresses(shape, ipc) < 1:
            one = self.basis(shape) + shape.classes
            return (
                f"bases: {self.bases} take {one} numbers each, with one address for every class, but the budget of "
                f"{ipc} images per class is {budget} numbers; set it to {budget // one} or less"
            )
        return None

    def examples(self, shape: Shape, ipc: int) -> int:
        return max(1, self.addresses(shape, ipc))

    def floats(self, shape: Shape, ipc: int) -> int:
        return self.bases * (self.basis(shape) + shape.classes * self.examples(shape, ipc))

    def decoding(self, shape: Shape, images: int, calls: int) -> Work:
        return Counter({(Operation("recall", shape, option=f"{self.bases} / {self.downsampling}"), images): calls})
