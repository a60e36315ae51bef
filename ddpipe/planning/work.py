"""How often a stage calls what: network passes, augmentations, writes, each as (number of calls, images a call).

Counted from settings alone, without torch. Every part of a method has one function here, found by the class of its
settings; a new objective adds its own to OBJECTIVES, a parametrisation to BASES, students to STUDENTS.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ddpipe import settings
from ddpipe.memory import images_at_once
from ddpipe.planning.shapes import Data, Shape


@dataclass(frozen=True)
class Operation:
    """What is called, and what its time depends on besides the number of images: a key of the calibration."""

    name: str  # of a function in ddpipe/planning/measure.py
    shape: Shape | None = None
    network: settings.Network | None = None
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


def images(work: Work, operation: str) -> int:
    """Images that all calls of the operations with this name see."""
    return sum(calls * n for (found, n), calls in work.items() if found.name == operation)


@dataclass(frozen=True)
class Cell:
    """What the functions below read: one set of a cell that learns it."""

    chosen: settings.Distillation
    data: Data
    ipc: int
    network: settings.Network

    @property
    def classes(self) -> int:
        return self.data.shape.classes

    @property
    def bases(self) -> int:
        """Images of a class that one pass over the set sees."""
        return BASES[type(self.chosen.synthetic)](self.chosen.synthetic, self.ipc)

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
        hallucinate = Operation("hallucinate", self.data.shape)
        return Counter({(hallucinate, images): calls} if self.chosen.synthetic.factorised else {})

    def siamese(self) -> Work:
        """One augmentation a class, shared by its real and its synthetic images; the synthetic side backwards too."""
        if self.chosen.augment == "none":
            return Counter()
        real, synthetic = (
            Operation(name, self.data.shape, option=self.chosen.augment) for name in ("siamese", "siamese gradient")
        )
        return Counter({(real, self.real): self.classes}) + Counter({(synthetic, self.decoded): self.classes})


def batch_norm(network: settings.Network) -> bool:
    return getattr(network, "norm", None) == "batch"


# --- objectives: the work of one iteration ----------------------------------------------------------------------------


def distribution(objective: settings.DistributionMatching, cell: Cell) -> Work:
    """Embeddings of the real images without a graph, of the synthetic ones with the way back to the images."""
    together = cell.classes if batch_norm(cell.network) else max(1, objective.chunk // cell.chosen.real_batch)
    work = cell.siamese() + cell.decode(cell.bases, cell.classes * cell.styles)
    for classes, calls in parts(cell.classes, together).items():
        work[Operation("gather", cell.data.shape), classes * cell.real] += calls
        work[cell.operation("forward"), classes * cell.real] += calls
        work[cell.operation("image gradient"), classes * cell.decoded] += calls
    return work


def gradient(objective: settings.GradientMatching, cell: Cell) -> Work:
    """For every class the weights' gradient on real images, and on synthetic ones differentiated once more."""
    work = cell.siamese() + cell.decode(cell.bases, cell.classes * cell.styles)
    work[Operation("gather", cell.data.shape), cell.real] += cell.classes
    work[cell.operation("weight gradient", objective.metric), cell.real] += cell.classes
    work[cell.operation("matching", objective.metric), cell.decoded] += cell.classes
    if batch_norm(cell.network):
        work[Operation("gather", cell.data.shape), 16] += cell.classes
        work[cell.operation("forward"), 16 * cell.classes] += 1
    return work


def trajectory(objective: settings.TrajectoryMatching, cell: Cell) -> Work:
    """The student's steps, each pulled back through once; through the full graph it takes about as long."""
    shown = cell.classes * cell.bases
    images = min(objective.batch or shown, shown)
    work = cell.decode(images, objective.steps)
    work[cell.operation("flat gradient"), images] += objective.steps
    work[cell.operation("pull back"), images] += objective.steps
    if cell.chosen.augment != "none":
        work[Operation("augment gradient", cell.data.shape, option=cell.chosen.augment), images] += objective.steps
    if objective.soft_labels:
        work[cell.operation("forward"), cell.classes * cell.decoded] += 1
    return work


def contrast(regulariser: settings.Contrast, cell: Cell) -> Work:
    """Two views of the bases through the extractor, once for the set and once for itself."""
    shown = cell.classes * cell.bases
    images = min(regulariser.batch or shown, shown)
    work = cell.decode(images, 2)
    work[cell.operation("image gradient"), 2 * images] += 1
    work[cell.operation("weight gradient", "mse"), 2 * images] += 1
    return work


OBJECTIVES: dict[type, Callable[[Any, Cell], Work]] = {
    settings.TrajectoryMatching: trajectory,
    settings.DistributionMatching: distribution,
    settings.GradientMatching: gradient,
}


# --- students: the work of all iterations -----------------------------------------------------------------------------


def fresh(students: settings.FreshStudents, cell: Cell) -> Work:
    return Counter({(cell.operation("initialise"), 1): cell.chosen.iterations})


def trained(students: settings.TrainedStudents, cell: Cell) -> Work:
    """A network is trained between two of its iterations, not before the first and not after the last."""
    networks = -(-cell.chosen.iterations // students.outer_loop)
    epoch = one_pass(cell.classes * cell.decoded, students, cell.data.shape, cell.network, 1)
    work = times((cell.chosen.iterations - networks) * students.inner_loop, epoch)
    work[cell.operation("initialise"), 1] += networks
    return work


def followed(students: settings.ExpertStudents, cell: Cell) -> Work:
    """Two rows of a file are read for each student: nothing beside its steps."""
    return Counter()


STUDENTS: dict[type, Callable[[Any, Cell], Work]] = {
    settings.ExpertStudents: followed,
    settings.FreshStudents: fresh,
    settings.TrainedStudents: trained,
}

# --- parametrisations: bases of a class ------------------------------------------------------------------------------

BASES: dict[type, Callable[[Any, int], int]] = {
    settings.Pixels: lambda synthetic, ipc: ipc,
    settings.Hallucinator: lambda synthetic, ipc: synthetic.bases or ipc,
}


# --- training and testing ---------------------------------------------------------------------------------------------


def parts(n: int, batch: int) -> dict[int, int]:
    """n items in batches: size of a batch -> number of such batches."""
    sizes = {batch: n // batch, n % batch: 1}
    return {size: calls for size, calls in sizes.items() if size and calls}


def one_pass(
    n: int, rules: settings.Training | settings.TrainedStudents, shape: Shape, network: settings.Network, together: int
) -> Work:
    """One pass of training over n images; `together` networks make it at once, each with images of its own."""
    work: Work = Counter()
    for size, calls in parts(n, rules.batch).items():
        work.update(times(calls, one_step(size, rules, shape, network, together)))
    return work


def one_step(n: int, rules: settings.Settings, shape: Shape, network: settings.Network, together: int) -> Work:
    """One step on n images, for each of `together` networks images of its own."""
    precision, augment = getattr(rules, "precision", "float32"), getattr(rules, "augment", "none")
    work: Work = Counter({(Operation("step", shape, network, precision, together), n): 1})
    work[Operation("gather", shape), n] += together
    if augment != "none":
        work[Operation("augment", shape, option=augment), n] += together
    return work


def training(rules: settings.Training, n: int, shape: Shape, network: settings.Network, together: int = 1) -> Work:
    """`together` networks from their first weights to their last."""
    work = times(rules.epochs + rules.extra_epoch, one_pass(n, rules, shape, network, together))
    work[Operation("initialise", shape, network), 1] += together
    return work


def testing(n: int, shape: Shape, network: settings.Network) -> Work:
    """One look at n images."""
    work: Work = Counter()
    for size, calls in parts(n, images_at_once(shape.values)).items():
        work[Operation("gather", shape), size] += calls
        work[Operation("forward", shape, network), size] += calls
    return work


# --- stages -----------------------------------------------------------------------------------------------------------


def process(data: Data) -> Work:
    """What every stage does once: Python starts, the prepared data is read, checked and preprocessed."""
    loaded = data.train + data.test
    work = Counter({(Operation("process"), 1): 1, (Operation("load", data.shape), loaded): 1})
    if data.whitened:
        work[Operation("whiten", data.shape), loaded] += 1
    return work


def distillation(cell: Cell, checkpoint_every: int) -> Work:
    """All sets of a cell that learns them."""
    chosen, shape = cell.chosen, cell.data.shape
    learned = cell.classes * cell.decoded
    one = STUDENTS[type(chosen.students)](chosen.students, cell)
    one.update(times(chosen.iterations, OBJECTIVES[type(chosen.objective)](chosen.objective, cell)))
    if chosen.regulariser is not None:
        one.update(times(chosen.iterations, contrast(chosen.regulariser, cell)))
    one[Operation("outer step", shape), learned] += chosen.iterations
    one[Operation("write"), 8 * learned * shape.values] += (chosen.iterations - 1) // checkpoint_every  # and momentum
    one[Operation("write"), 4 * learned * shape.values] += 2  # the finished piece, and the set
    return times(chosen.sets, one)


def selection(chosen: settings.Selection, data: Data, count: int, network: settings.Network) -> Work:
    """All sets of a cell that picks `count` real images."""
    one: Work = Counter({(Operation("write"), 8 * count): 2})
    if chosen.rule in EMBEDDED:
        one.update(testing(data.train, data.shape, network))
        first, later = (Operation(f"select {which}", data.shape, network, chosen.rule) for which in ("first", "next"))
        one[first, data.per_class] += data.shape.classes
        one[later, data.per_class] += count - data.shape.classes
    return times(chosen.sets, one)


EMBEDDED = ("herding", "kcenter")  # rules that choose in an expert's feature space


def experts(buffer: settings.Experts, data: Data, network: settings.Network, together: int) -> Work:
    """Networks trained `together` at a time; GSAM takes two gradients where SGD takes one."""
    done: Work = Counter()
    for size, groups in parts(buffer.networks, together).items():
        done.update(times(groups, training(buffer, data.train, data.shape, network, size)))
    if buffer.flat is not None:
        done.update({call: calls for call, calls in done.items() if call[0].name == "step"})
    return done


def evaluation(
    rules: settings.Protocol,
    sets: int,
    n: int,
    data: Data,
    network: settings.Network,
    together: int,
    known: Mapping[str, int] | None = None,
) -> Work | None:
    """Networks that come to know the n images of each of `sets` sets, `together` at a time, and their tests.

    None where the record of the protocol cannot count its steps from what is `known` of the sets' hints.
    """
    one: Work = Counter()
    counted = rules.counted(n, known or {})
    if counted is None:
        return None
    for size, groups in parts(rules.networks, together).items():
        for images, calls in counted.items():
            one.update(times(groups * calls, one_step(images, rules, data.shape, network, size)))
        one[Operation("initialise", data.shape, network), 1] += groups * size
    if rules.embeds:
        one.update(times(rules.networks, testing(n, data.shape, network)))
    one.update(times(rules.networks, testing(data.test, data.shape, network)))
    one[Operation("write"), 0] += rules.networks
    return times(min(sets, rules.sets or sets), one)
