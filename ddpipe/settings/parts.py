"""The parts of a method."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ddpipe.settings.base import Augmentation, Settings, Siamese, needed
from ddpipe.settings.bounds import Few, Fraction, NonNegative, Positive, PositiveInt, Switch
from ddpipe.settings.protocol import Scale


def halved(**numbers: int) -> dict[str, Any]:
    """Half of each number that has one."""
    return {key: number // 2 for key, number in numbers.items() if number > 1}


class Part(Settings):
    learned: ClassVar[frozenset[str]] = frozenset()  # groups of what it learns: the keys of `outer`
    draws_real: ClassVar[bool] = True  # batches of `real_batch` real images a class
    hints: ClassVar[dict[str, str]] = {}  # what users of the set have to know: name -> shape, as in files/layout.py
    known: ClassVar[dict[str, int]] = {}  # sizes of the letters in these shapes, where the settings tell them

    def lighter(self, shown: int) -> dict[str, Any]:
        """Values of its keys with which an iteration takes less memory; the key that changes no number first.

        Args:
            shown: images of the set that one pass over it sees.
        """
        return {}


class Pixels(Part):
    learned = frozenset({"images"})
    factorised: ClassVar[bool] = False
    styles: ClassVar[int] = 1
    name: Literal["pixels"]
    init: Literal["real", "noise"] = "real"

    def stated(self) -> dict[str, str]:
        return needed("init")


class Hallucinator(Part):
    learned = frozenset({"bases", "hallucinators"})
    factorised: ClassVar[bool] = True  # bases, each shown in so many `styles`: `ddpipe.synthetic.Factorised`
    name: Literal["hallucinator"]  # HaBa's bases, each through every hallucinator
    init: Literal["real"] = "real"  # random real images as bases
    bases: PositiveInt | None = None  # per class; left out: IPC
    channels: Literal[1] | None = None  # of a base; left out: those of the data; 1: at first the mean over them
    hallucinators: Few = 5

    def stated(self) -> dict[str, str]:
        return needed("hallucinators")

    @property
    def styles(self) -> int:
        return self.hallucinators


class GradientMatching(Part):
    name: Literal["gradient"]
    metric: Literal["ours", "mse", "cos"] = "ours"

    def stated(self) -> dict[str, str]:
        return needed("metric")


class DistributionMatching(Part):
    name: Literal["distribution"]
    chunk: PositiveInt = 2560  # images embedded at once; only memory depends on it (batch-norm networks take all)

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(chunk=self.chunk)


class TrajectoryMatching(Part):
    learned = frozenset({"lr"})
    hints = {"lr": "", "agreement?": ""}
    draws_real = False
    name: Literal["trajectory"]
    steps: Few  # N: SGD steps of the student on the set
    batch: PositiveInt | None = None  # images a step; left out: all
    lr: Positive = 0.01  # where the learned step size starts
    smallest_lr: Positive = 1e-4  # it never falls below
    gradient: Literal["exact", "full", "truncated"] = "exact"  # by reverse sweep, through one graph, TESLA's
    factor: Positive = 1.0  # of the images' gradient: TESLA's published code halves it
    soft_labels: Switch = False  # targets assigned by the expert in every iteration (TESLA)

    def stated(self) -> dict[str, str]:
        teslas = ("factor", "soft_labels") if self.gradient == "truncated" else ()
        return needed("lr", "smallest_lr", "gradient", *teslas)

    def lighter(self, shown: int) -> dict[str, Any]:
        if self.gradient == "full":
            return {"gradient": "exact"}  # holds one step instead of all
        return halved(batch=min(self.batch or shown, shown), steps=self.steps)


class Contrast(Part):
    """HaBa's second player: an extractor of the student's architecture that is trained beside the set."""

    name: Literal["contrast"]
    weight: Positive = 0.1  # in the set's loss: likeness of a base through two hallucinators
    pull: NonNegative = 0.1  # in the extractor's: unlikeness of the same
    supervised: NonNegative = 0.1  # in the extractor's: supervised contrastive loss; its cross-entropy has weight 1
    temperature: Positive = 0.07
    batch: PositiveInt | None = None  # bases a step; left out: all
    lr: Positive = 0.001  # of the extractor
    momentum: Fraction = 0.9

    def stated(self) -> dict[str, str]:
        return needed("weight", "pull", "supervised", "temperature", "lr", "momentum")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=min(self.batch or shown, shown))


class FreshStudents(Part):
    name: Literal["fresh"]  # a new random network every iteration


class TrainedStudents(Part):
    name: Literal["trained"]  # one network for outer_loop iterations, trained on the set between two of them
    outer_loop: PositiveInt = 1
    inner_loop: PositiveInt = 1  # epochs
    lr: Positive = 0.01
    momentum: Fraction = 0.0
    batch: PositiveInt = 256
    augment: Augmentation = "none"

    def stated(self) -> dict[str, str]:
        return needed("outer_loop", "inner_loop", "lr", "momentum", "batch", "augment")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=min(self.batch, shown))


class ExpertStudents(Part):
    name: Literal["experts"]  # a stretch of an expert's trajectory, out of the buffer that the row needs
    starts: PositiveInt  # T+: it begins at snapshot 0, ..., starts - 1
    span: PositiveInt  # M: epochs that it spans

    @property
    def epochs(self) -> int:
        """The least that a buffer must hold."""
        return self.starts - 1 + self.span


Students = Annotated[FreshStudents | TrainedStudents | ExpertStudents, Field(discriminator="name")]


class Sgd(Settings):
    """Outer optimiser of one parameter group."""

    lr: Positive
    momentum: Fraction = 0.0

    def stated(self) -> dict[str, str]:
        return needed("momentum")


class Distillation(Settings):
    """Resolved settings of a cell that learns its set."""

    kind: Literal["distillation"] = "distillation"
    revision: PositiveInt = 1
    synthetic: Annotated[Pixels | Hallucinator, Field(discriminator="name")]
    objective: Annotated[GradientMatching | DistributionMatching | TrajectoryMatching, Field(discriminator="name")]
    regulariser: Contrast | None = None
    students: Students
    augment: Siamese = "none"  # one draw for the real and synthetic batch of a class
    outer: dict[str, Sgd]
    average: Fraction | None = None  # decay of the set's moving average, which then is the result (FTD)
    iterations: PositiveInt
    real_batch: PositiveInt = 256  # per class
    excess: Switch = (
        False  # the set may store more than its IPC in images (HaBa's published cells); the report shows it
    )
    sets: Few = 5

    def stated(self) -> dict[str, str]:
        return needed("augment", "sets", *(("real_batch",) if self.objective.draws_real else ()))

    @property
    def hints(self) -> dict[str, str]:
        """What stands beside the finished set: name -> shape; ? after a name: not always."""
        return self.objective.hints

    @property
    def known(self) -> dict[str, int]:
        """Sizes of the letters in these shapes, as far as the settings tell them."""
        return self.objective.known

    @property
    def scale(self) -> Scale:
        """Of the targets."""
        return "one-hot"

    def lighter(self, shown: int) -> dict[str, Any]:
        """As `Part.lighter`, of all parts."""
        parts = {"objective": self.objective, "students": self.students, "regulariser": self.regulariser}
        found = {
            f"{name}.{key}": value for name, part in parts.items() if part for key, value in part.lighter(shown).items()
        }
        return found | (halved(real_batch=self.real_batch) if self.objective.draws_real else {})


class Selection(Settings):
    """Resolved settings of a cell that picks real images."""

    kind: Literal["selection"] = "selection"
    revision: PositiveInt = 1
    rule: Literal["random", "herding", "kcenter", "whole"]
    sets: Few = 5
    hints: ClassVar[dict[str, str]] = {}  # of real images there is nothing to know
    known: ClassVar[dict[str, int]] = {}
    scale: ClassVar[Scale] = "one-hot"

    def stated(self) -> dict[str, str]:
        return needed("sets")


Cell = Annotated[Distillation | Selection, Field(discriminator="kind")]
