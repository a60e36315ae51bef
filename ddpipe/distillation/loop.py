"""THE loop: parts -> a synthetic set. Every method that learns a set runs through `Distillation.advance`.

What a killed run needs lies in tensors: the set, the students, the objective, the outer optimiser, the named
generators and the losses so far. Nothing else is carried from one iteration to the next.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ddpipe import augmentation, settings, students
from ddpipe.augmentation import Policy
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.average import Average
from ddpipe.distillation.finite import Watch
from ddpipe.distillation.outer import Outer
from ddpipe.errors import UserError
from ddpipe.experts.buffer import Buffer
from ddpipe.memory import images_at_once
from ddpipe.networks import Classifier
from ddpipe.objectives import OBJECTIVES, Objective
from ddpipe.objectives.contrast import Contrast
from ddpipe.randomness import Streams
from ddpipe.synthetic import STARTS, Synthetic


@dataclass
class Distillation:
    """One set on its way. `iteration` counts finished iterations, `history` (iterations,) holds their losses."""

    synthetic: Synthetic
    objective: Objective
    students: students.Students
    real: Resident
    augment: Policy
    outer: Outer
    rng: Streams
    history: Tensor
    iteration: int = 0
    average: Average | None = None
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(list(self.watched()), self.history.device)

    def advance(self) -> None:
        """One iteration: the next student, then one outer step for every loss that the objective yields."""
        student = self.students.next(self.synthetic, self.rng)
        for loss in self.objective.losses(self.synthetic, student, self.real, self.augment, self.rng):
            self.outer.step(loss)
            self.history[self.iteration] += loss.value
        self.synthetic.project_()
        self.objective.project_()
        if self.average is not None:
            self.average.update()
        self.watch.note(self.iteration, list(self.watched().values()))
        self.iteration += 1

    def watched(self) -> dict[str, list[Tensor]]:
        """What can lose its numbers, in the order in which an iteration uses it: nothing that is drawn afresh or read.

        Expert snapshots are looked at where they are read.
        """
        found: dict[str, list[Tensor]] = {"students": [], "loss": [self.history[self.iteration]], "regulariser": []}
        if isinstance(self.students, students.Trained):
            found["students"] += self.students.network.parameters()
        if isinstance(self.objective, Contrast):
            found["regulariser"] += self.objective.extractor.parameters()
        found |= {group: optimizer.parameters for group, optimizer in self.outer.optimizers.items()}
        return {part: tensors for part, tensors in found.items() if tensors}

    def finish(self) -> None:
        """After the last iteration: `synthetic` becomes what the method hands over."""
        if self.average is not None:
            self.average.replace_()

    def check_finite(self) -> None:
        """Refuse to go on, and to checkpoint, once a part lost its numbers. Waits for the device: call it seldom."""
        found = self.watch.earliest()
        if found is None:
            return
        part, when = found
        if not all(self.real.batch(rows).isfinite().all() for rows in self.looks()):
            raise UserError("the prepared images hold numbers that are not finite; prepare the data again")
        rates = self.rates()
        own = f"outer.{part}.lr" if part in self.outer.optimizers else f"{part}.lr"
        likeliest = sorted(rates, key=lambda key: (key != own, -rates[key]))  # its own, then the largest steps
        named = [f"{key} ({rates[key]:g})" for key in likeliest]
        what = "the loss is" if part == "loss" else f"what {part} hold is"
        order = "lower it" if len(named) == 1 else "lower the first, and if that does not help the next"
        raise UserError(f"{' or '.join(named)}: from iteration {when} on {what} not a number; {order}")

    def looks(self) -> tuple[Tensor, ...]:
        """All rows of the real images, as many a time as memory is meant to hold."""
        return torch.arange(len(self.real.labels)).split(images_at_once(self.real.images[0].numel()))

    def rates(self) -> dict[str, float]:
        """The step sizes that can make numbers overflow, by their keys."""
        found = {f"outer.{group}.lr": optimizer.lr for group, optimizer in self.outer.optimizers.items()}
        parts: dict[str, object] = {"students": self.students, "objective": self.objective}
        if isinstance(self.objective, Contrast):
            parts |= {"objective": self.objective.objective, "regulariser": self.objective}
        rates = {f"{name}.lr": getattr(getattr(part, "config", None), "lr", None) for name, part in parts.items()}
        return found | {key: rate for key, rate in rates.items() if rate is not None}

    def state_dict(self) -> dict[str, Tensor]:
        state = {"iteration": torch.tensor(self.iteration), "history": self.history}
        for name, part in self.parts().items():
            state |= {f"{name}/{key}": value for key, value in part.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.iteration = int(state["iteration"])
        self.history.copy_(state["history"])
        for name, part in self.parts().items():
            own = {key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")}
            part.load_state_dict(own)

    def parts(self) -> dict:
        parts: dict = {
            "synthetic": self.synthetic,
            "objective": self.objective,
            "students": self.students,
            "outer": self.outer,
            "rng": self.rng,
            "watch": self.watch,
        }
        return parts if self.average is None else parts | {"average": self.average}


def compose(
    config: settings.Distillation,
    ipc: int,
    real: Resident,
    network: Classifier,
    flip: bool,
    rng: Streams,
    buffer: Buffer | None = None,
    compiled: bool = False,
) -> Distillation:
    """Put a method together from its settings, at iteration 0.

    Args:
        ipc: images per class.
        network: a module of the student's architecture on the device; its weights are overwritten.
        flip: False where a mirrored image is another class.
        buffer: the experts that the row needs, if it needs any.
        compiled: through torch.compile, where the objective can.

    Raises:
        UserError: when the parts do not fit together.
    """
    synthetic = STARTS[config.synthetic.name](config.synthetic, real, ipc, rng)
    objective: Objective = OBJECTIVES[config.objective.name](config.objective, config.real_batch)
    objective.compiled = compiled
    pool = students.make(config.students, network, flip, buffer)
    if not objective.accepts <= pool.gives:
        lacking = ", ".join(sorted(objective.accepts - pool.gives))
        raise UserError(
            f"students: {config.students.name!r} gives no {lacking}, which objective {config.objective.name!r} needs"
        )
    if config.regulariser is not None:
        if config.synthetic.styles < 2:
            raise UserError(
                f"regulariser: {config.regulariser.name!r} compares a base in two styles, but synthetic "
                f"{config.synthetic.name!r} shows each in one; choose two hallucinators or more, or regulariser: null"
            )
        objective = Contrast(config.regulariser, objective, network, rng)
    learned = [x for group in synthetic.groups().values() for x in group]
    return Distillation(
        synthetic,
        objective,
        pool,
        real,
        augmentation.make(config.augment, flip),
        Outer(synthetic.groups() | objective.groups(), config.outer),
        rng,
        torch.zeros(config.iterations, device=real.labels.device),
        average=None if config.average is None else Average(learned, config.average),
    )
