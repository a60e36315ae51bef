"""THE loop: parts -> a synthetic set. Every method that learns a set runs through `Distillation.advance`.

What a killed run needs lies in tensors: the set, the students, the objective, the outer optimiser, the named
generators and the losses so far. Nothing else is carried from one iteration to the next.
"""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor

from ddpipe import augmentation, settings
from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.average import Average
from ddpipe.distillation.finite import Watch
from ddpipe.distillation.outer import Outer
from ddpipe.distillation.stop import Stop
from ddpipe.distillation.warm import Warm
from ddpipe.errors import UserError
from ddpipe.memory import images_at_once
from ddpipe.objectives import Objective
from ddpipe.randomness import Streams
from ddpipe.settings.part import Part, program
from ddpipe.students import Student, Students
from ddpipe.synthetic import Synthetic
from ddpipe.training.states import joined, load


@dataclass
class Distillation:
    """One set on its way. `iteration` counts finished iterations, `history` (iterations,) holds their losses."""

    synthetic: Synthetic
    objective: Objective
    students: Students
    real: Resident
    augment: Policy
    outer: Outer
    rng: Streams
    history: Tensor
    iteration: int = 0
    average: Average | None = None
    warm: Warm | None = None  # the first of the iterations
    stop: Stop | None = None
    rates: dict[str, float] = field(default_factory=dict)  # step sizes of the parts, by their keys
    watch: Watch = field(init=False)
    unit: ClassVar[str] = "iteration"
    steps: ClassVar[int] = 1

    def __post_init__(self) -> None:
        self.watch = Watch(list(self.watched()), self.history.device)

    @property
    def iterations(self) -> int:
        """All of them, finished or not: fewer once a rule has ended them."""
        return self.iteration if self.stop is not None and self.stop.over else len(self.history)

    def advance(self) -> None:
        """One iteration: the next student, then one outer step for every loss that the objective yields."""
        first, unasked = self.warm.iterations if self.warm else 0, frozenset[str]()
        if self.warm and self.iteration < first:
            self.follow(self.warm.objective, self.warm.outer, Student(), self.iteration, first)
            unasked = frozenset(self.students.carried())  # their memory may hold anything
            if self.average is not None:
                self.average.begin()
        else:
            number = self.iteration - first
            student = self.students.next(self.synthetic, self.rng, number)
            if student.age == 0:
                self.synthetic.begin_()
            self.follow(self.objective, self.outer, student, number, len(self.history) - first)
            if self.average is not None:
                self.average.update()
        watched = [[] if part in unasked else tensors for part, tensors in self.watched().items()]
        self.watch.note(self.iteration, watched)
        self.iteration += 1
        if self.stop is not None:
            self.stop.look(self.iteration, self.synthetic)

    def follow(self, objective: Objective, outer: Outer, student: Student, number: int, total: int) -> None:
        """The steps of iteration `number` of `total`."""
        outer.begin(number, total)
        for loss in objective.losses(self.synthetic, student, self.real, self.augment, self.rng):
            outer.step(loss)
            self.synthetic.project_()
            objective.project_()
            self.history[self.iteration] += loss.value

    def watched(self) -> dict[str, list[Tensor]]:
        """What can lose its numbers, in the order in which an iteration uses it: nothing that is drawn afresh or read.

        Expert snapshots are looked at where they are read.
        """
        carried = self.students.carried() | self.objective.carried()
        found = {"students": [], "loss": [self.history[self.iteration : self.iteration + 1]]} | carried
        found |= {group: optimizer.parameters for group, optimizer in self.outer.optimizers.items()}
        return {part: tensors for part, tensors in found.items() if tensors}

    def finish(self) -> None:
        """After the last iteration: `synthetic` becomes what the method hands over."""
        if self.average is not None:
            self.average.replace_()
        if self.stop is not None:
            self.stop.replace_()
            self.history = self.history[: self.iteration]

    def check_finite(self) -> None:
        """Refuse to go on, and to checkpoint, once a part lost its numbers. Waits for the device: call it seldom."""
        found = self.watch.earliest()
        if found is None:
            return
        part, when = found
        if not all(self.real.batch(rows).isfinite().all() for rows in self.looks()):
            raise UserError("the prepared images hold numbers that are not finite; prepare the data again")
        rates = {f"outer.{group}.lr": chosen.lr for group, chosen in self.outer.config.items()} | self.rates
        own = f"outer.{part}.lr" if part in self.outer.optimizers else f"{part}.lr"
        likeliest = sorted(rates, key=lambda key: (key != own, -rates[key]))  # its own, then the largest steps
        named = [f"{key} ({rates[key]:g})" for key in likeliest]
        what = "the loss is" if part == "loss" else f"what {part} hold is"
        order = "lower it" if len(named) == 1 else "lower the first, and if that does not help the next"
        raise UserError(f"{' or '.join(named)}: from iteration {when} on {what} not a number; {order}")

    def hints(self) -> dict[str, Tensor]:
        """What users of the finished set have to know."""
        return self.objective.hints(self.synthetic) | self.students.hints(self.synthetic)

    def looks(self) -> tuple[Tensor, ...]:
        """All rows of the real images, as many a time as memory is meant to hold."""
        return torch.arange(len(self.real.labels)).split(images_at_once(self.real.images[0].numel()))

    def about(self) -> dict[str, Any]:
        """Its state is tensors alone."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        return {"iteration": torch.tensor(self.iteration), "history": self.history} | joined(self.parts(), "/")

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.iteration = int(state["iteration"])
        self.history.copy_(state["history"])
        load(self.parts(), state, "/")

    def parts(self) -> dict:
        parts: dict = {
            "synthetic": self.synthetic,
            "objective": self.objective,
            "students": self.students,
            "outer": self.outer,
            "rng": self.rng,
            "watch": self.watch,
        }
        return parts | {name: part for name in ("average", "warm", "stop") if (part := getattr(self, name)) is not None}


def compose(config: settings.Distillation, context: Context) -> Distillation:
    """Put a method together from its settings, at iteration 0.

    Raises:
        UserError: when the parts do not fit together.
    """
    for mistake in config.misfits():
        raise UserError(mistake)
    synthetic: Synthetic = make(config.synthetic, context)
    objective: Objective = make(config.objective, context)
    pool: Students = make(config.students, context)
    judged = objective
    if config.regulariser is not None:
        objective = make(config.regulariser, context, objective)
    synthetic.label_(config.labels)
    of_the_set = synthetic.groups() | synthetic.learned_targets()
    learned = [x for group in of_the_set.values() for x in group]
    return Distillation(
        synthetic,
        objective,
        pool,
        context.real,
        augmentation.make(config.augment, context.flip),
        Outer(of_the_set | objective.groups(), config.outer, config.clip),
        context.rng,
        torch.zeros(config.steps, device=context.real.labels.device),
        average=Average(learned, config.average) if config.average is not None and learned else None,
        warm=None if config.warm is None else warm(config, config.warm, context, of_the_set),
        stop=None if config.stop is None else stop(config.stop, context, judged, learned),
        rates={f"{key}.lr": part.lr for key, part in config.parts().items() if hasattr(part, "lr")},
    )


def warm(config: settings.Distillation, own: settings.Warm, context: Context, groups: dict[str, list[Tensor]]) -> Warm:
    """The start of a composition, at rest."""
    outer = Outer(groups, {name: config.outer[name] for name in groups}, config.clip)
    return Warm(make(own.objective, context), outer, own.iterations)


def stop(own: settings.Stop, context: Context, objective: Objective, learned: list[Tensor]) -> Stop:
    """The rule that may end a composition, before its first look."""
    return Stop(own, make(own.students, context), objective, context.real, learned, context.rng.path)


def make(record: Part, context: Context, *beside: Any) -> Any:
    """The part that `record` describes, made by the module with its mathematics."""
    return import_module(program(record)).make(record, context, *beside)
