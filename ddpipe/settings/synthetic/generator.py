"""GTN's generator, fed with a course of learned noise."""

from collections import Counter
from typing import Any, Literal

from pydantic import model_validator

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Few
from ddpipe.settings.part import Synthetic
from ddpipe.settings.shapes import Shape
from ddpipe.settings.work import Operation, Work


class Generator(Synthetic):
    """The set has `batches` times `batch` examples, whatever the row's IPC, and stores what makes them."""

    reference = "GTN (Such et al., ICML 2020); survey section 5, decoder-based"
    factors = "decoder"
    learned = frozenset({"generator", "curriculum"})

    name: Literal["generator"]
    batches: Few  # T, which networks see one after the other
    batch: Few  # B: examples that are generated, and seen, together
    noise: Few = 128  # learned numbers an example, beside its class the generator's input
    hidden: Few = 1024  # width of the generator's first layer
    maps: tuple[Few, Few] = (128, 64)  # that enter its two convolutions

    def stated(self) -> dict[str, str]:
        return needed("noise", "hidden", "maps")

    @model_validator(mode="after")
    def batches_have_statistics(self) -> "Generator":
        if self.batch < 2:
            raise ValueError("batch must be 2 or more: the generator's batch norm takes the statistics of a batch")
        return self

    @property
    def course(self) -> int:
        return self.batches

    def examples(self, shape: Shape, ipc: int) -> int:
        """Of an average class, rounded up."""
        return -(-self.batches * self.batch // shape.classes)

    def floats(self, shape: Shape, ipc: int) -> int:
        first, second = self.maps
        values = (-(-shape.resolution // 4)) ** 2 * first  # of the first maps
        linear = (self.noise + shape.classes) * self.hidden + self.hidden * values + 3 * (self.hidden + values)
        convolutions = 9 * first * second + 3 * second + 9 * second * shape.channels + 2 * shape.channels
        return linear + convolutions + self.batches * self.batch * self.noise

    def lighter(self, shown: int) -> dict[str, Any]:
        return {"batch": self.batch // 2} if self.batch >= 4 else {}

    def decoding(self, shape: Shape, images: int, calls: int) -> Work:
        sizes = ":".join(map(str, (self.noise, self.hidden, *self.maps)))
        return Counter({(Operation("generate", shape, option=sizes), images): calls})
