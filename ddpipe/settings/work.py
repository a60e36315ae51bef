"""Work in words that a calibration can time: which operation is called how often with how many images.

The records of a method's parts say their work in these words; `ddpipe.planning` adds it up.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ddpipe.settings.networks import Learner, Network
from ddpipe.settings.shapes import Data, Shape

if TYPE_CHECKING:
    from ddpipe.settings.distillation import Distillation


@dataclass(frozen=True)
class Operation:
    """What is called, and what its time depends on besides the number of images: a key of the calibration."""

    name: str  # of a function in ddpipe/planning/measure.py
    shape: Shape | None = None
    network: Network | None = None
    option: str = ""  # a strategy of augmentation, a metric, a precision
    together: int = 1  # networks that are trained as one computation

    def key(self) -> str:
        """The same text for the same settings, whatever name params.yaml gives them."""
        network = "" if self.network is None else self.network.model_dump_json()
        company = f"{self.together} together" if self.together > 1 else ""
        return " | ".join(filter(None, [self.name, str(self.shape or ""), network, self.option, company]))


Work = Counter[tuple[Operation, int]]  # (operation, images a call) -> calls


def times(count: int, work: Work) -> Work:
    return Counter({call: count * calls for call, calls in work.items()})


def parts(n: int, batch: int) -> dict[int, int]:
    """n items in batches: size of a batch -> number of such batches."""
    sizes = {batch: n // batch, n % batch: 1}
    return {size: calls for size, calls in sizes.items() if size and calls}


@dataclass(frozen=True)
class Cell:
    """One set of a cell that learns it, as the records of its parts see it."""

    chosen: "Distillation"
    data: Data
    ipc: int
    network: Network

    @property
    def classes(self) -> int:
        return self.data.shape.classes

    @property
    def shown(self) -> int:
        """Images that one pass over the set sees."""
        return self.chosen.shown(self.data.shape, self.ipc)

    @property
    def bases(self) -> int:
        """Images of a class that one pass over the set sees."""
        return self.chosen.synthetic.examples(self.data.shape, self.ipc)

    @property
    def styles(self) -> int:
        """Images that are decoded from each base."""
        return self.chosen.synthetic.styles

    @property
    def decoded(self) -> int:
        """Images of a class in the decoded set."""
        return self.bases * self.styles

    @property
    def real(self) -> int:
        """Images in the real batch of a class: all it has, if they are fewer than asked for."""
        return min(self.chosen.real_batch, self.data.per_class)

    def operation(self, name: str, option: str = "") -> Operation:
        """An operation of the network."""
        return Operation(name, self.data.shape, self.network, option)

    def decode(self, images: int, calls: int) -> Work:
        """`calls` times so many images out of one style of their bases, and the gradient back to both."""
        return self.chosen.synthetic.decoding(self.data.shape, images, calls)

    def siamese(self, synthetic: int | None = None) -> Work:
        """One augmentation a class, shared by its real and its synthetic images; the synthetic side backwards too.

        Args:
            synthetic: images of a class; None: the decoded set's.
        """
        if self.chosen.augment == "none":
            return Counter()
        real, back = (
            Operation(name, self.data.shape, option=self.chosen.augment) for name in ("siamese", "siamese gradient")
        )
        return Counter({(real, self.real): self.classes}) + Counter({(back, synthetic or self.decoded): self.classes})


class Batches(Protocol):
    """What a pass of training needs of its settings; `precision` may be missing: float32."""

    @property
    def batch(self) -> int: ...

    @property
    def augment(self) -> str: ...


def one_pass(n: int, rules: Batches, shape: Shape, network: Network, together: int) -> Work:
    """One pass of training over n images; `together` networks make it at once, each with images of its own."""
    work: Work = Counter()
    for size, calls in parts(n, rules.batch).items():
        work.update(times(calls, one_step(size, rules, shape, network, together)))
    return work


def one_step(n: int, rules: object, shape: Shape, network: Network, together: int) -> Work:
    """One step on n images, for each of `together` networks images of its own."""
    precision, augment = getattr(rules, "precision", "float32"), getattr(rules, "augment", "none")
    work: Work = Counter({(Operation("step", shape, network, precision, together), n): 1})
    work[Operation("gather", shape), n] += together
    if augment != "none":
        work[Operation("augment", shape, option=augment), n] += together
    return work


def regression(kernel: Operation, shown: int, real: int) -> Work:
    """The pairs of `shown` images with so many real ones, and those among them, each once."""
    return Work({(kernel, shown * real): 1}) + Work({(kernel, shown * (shown + 1) // 2): 1})


def batch_norm(network: Network) -> bool:
    """Whether its outputs for an image depend on the rest of the batch while it trains."""
    return isinstance(network, Learner) or getattr(network, "norm", None) in ("batch", "flax")
