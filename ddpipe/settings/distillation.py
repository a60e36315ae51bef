"""Resolved settings of a cell that learns its set: the parts of a method and the numbers that they share."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from ddpipe.settings.base import Settings, Siamese, needed
from ddpipe.settings.bounds import Few, Fraction, Moments, Natural, PositiveInt, Switch
from ddpipe.settings.labels import Labels
from ddpipe.settings.method import Method
from ddpipe.settings.optimizers import Clip, Optimizer
from ddpipe.settings.part import Objective, Part, Regulariser, Students, Synthetic, halved, one_of, records
from ddpipe.settings.protocol import TOLD, Scale
from ddpipe.settings.shapes import Shape
from ddpipe.settings.stop import JUDGES, Stop
from ddpipe.settings.work import Cell as Scene
from ddpipe.settings.work import Work, times

if TYPE_CHECKING:
    AnySynthetic = Synthetic
    AnyObjective = Objective
    AnyRegulariser = Regulariser
    AnyStudents = Students
else:
    AnySynthetic, AnyObjective = one_of("synthetic"), one_of("objectives")
    AnyRegulariser, AnyStudents = one_of("regularisers"), one_of("students")

WARM = "warm.objective"  # its key among the parts


class Warm(Settings):
    """A start by another objective, with the same outer numbers and an augmentation of none."""

    objective: AnyObjective
    iterations: PositiveInt


class Distillation(Method):
    """Resolved settings of a cell that learns its set."""

    quiet = frozenset({"clip", "labels", "warm", "stop", "snapshots"})
    aside = Method.aside | {"sets", "excess", "snapshots"}
    kind: Literal["distillation"] = "distillation"
    revision: PositiveInt = 1
    synthetic: AnySynthetic
    objective: AnyObjective
    regulariser: AnyRegulariser | None = None
    students: AnyStudents
    labels: Labels = Labels()
    augment: Siamese = "none"  # one draw for the real and synthetic batch of a class
    outer: dict[str, Optimizer]  # of each group of what is learned; a schedule counts iterations
    clip: Clip | None = None  # of the gradient of all groups together, before their own (RTP)
    average: Fraction | None = None  # decay of the set's moving average, which then is the result (FTD)
    iterations: Natural  # 0: the set as it begins, a baseline
    warm: Warm | None = None  # before them (KFS)
    stop: Stop | None = None  # ends them earlier (RFAD)
    real_batch: PositiveInt = 256  # per class
    snapshots: Moments = ()  # iterations (with those of warm) after which set 0 is kept beside the result, 0: its start
    # the set may store more than its IPC in images (HaBa's published cells); the report shows it
    excess: Switch = False
    sets: Few = 5

    def stated(self) -> dict[str, str]:
        drawn = f"this key is missing: objective {self.objective.name!r} draws so many images of each class; add it"
        return needed("augment", "sets") | ({"real_batch": drawn} if self.objective.draws_real else {})

    def parts(self) -> dict[str, Part]:
        beside: dict[str, Part] = {} if self.warm is None else {WARM: self.warm.objective}
        return super().parts() | beside | ({} if self.stop is None else {JUDGES: self.stop.students})

    def composition(self) -> tuple[str, str, str]:
        return self.objective.name, self.synthetic.name, self.students.name

    @property
    def learned(self) -> frozenset[str]:
        """The groups of what is learned: the keys of `outer`."""
        targets = frozenset({"targets"} if self.labels.learned else ())
        return targets.union(*(part.learned for part in self.parts().values()))

    @property
    def scale(self) -> Scale:
        return self.labels.scale

    def misfits(self) -> Iterator[str]:
        for key in ("objective", "regulariser"):
            part = getattr(self, key)
            lacking = part.accepts - self.students.gives if part else None
            if lacking:
                pools = ((name, kind) for name, kind in records("students").items() if issubclass(kind, Students))
                able = [name for name, kind in pools if part.accepts <= kind.gives]
                yield (
                    f"students: {self.students.name!r} gives no {' and no '.join(sorted(lacking))}, which {key} "
                    f"{part.name!r} needs; choose {' or '.join(able)}"
                )
        if self.regulariser is not None and self.regulariser.pairs and self.synthetic.styles < 2:
            yield (
                f"regulariser: {self.regulariser.name!r} compares a base in two styles, but synthetic "
                f"{self.synthetic.name!r} shows each in one; choose two hallucinators or more, or regulariser: null"
            )
        if self.regulariser is not None and self.regulariser.paired and not self.synthetic.paired:
            yield (
                f"regulariser: {self.regulariser.name!r} compares examples with the real images that they began as, "
                f"but synthetic {self.synthetic.name!r} as it is set knows none; choose regulariser: null"
            )
        if self.labels.learned and not self.objective.moves_targets:
            yield (
                f"labels.learned: objective {self.objective.name!r} as it is set gives the targets no gradient, so "
                "they would stay as they are; set it to false"
            )
        course, blocks = self.synthetic.course, self.objective.divides
        if course and blocks and course % blocks:
            yield (
                f"objective.blocks: the {course} batches of synthetic {self.synthetic.name!r} do not divide into "
                f"{blocks} blocks; set it to {max(n for n in range(1, blocks) if course % n == 0)}"
            )
        if self.synthetic.partial and not self.labels.learned:
            yield (
                f"labels.learned: synthetic {self.synthetic.name!r} as it is set has classes without examples, which "
                "only learned targets can teach; set it to true"
            )
        for key, part in self.parts().items():
            if self.scale not in part.scales:
                yield (
                    f"labels.scale: {self.scale!r} targets are {TOLD[self.scale]}, but {key} {part.word!r} takes "
                    f"cross-entropies with distributions; set it to {part.scales[0]}"
                )
        if self.warm is not None and (self.warm.objective.accepts or self.warm.objective.learned):
            kinds = ((name, kind) for name, kind in records("objectives").items() if issubclass(kind, Objective))
            able = [name for name, kind in kinds if not (kind.accepts or kind.learned)]
            yield (
                f"{WARM}: {self.warm.objective.name!r} asks for a student or learns something itself, which a start "
                f"has not; choose {' or '.join(able)}"
            )
        if self.stop is not None:
            yield from self.unstoppable(self.stop)
        if self.snapshots and self.snapshots[-1] > self.steps:
            yield (
                f"snapshots: {self.snapshots[-1]} is after the last of {self.steps} iterations; keep the set after "
                f"{self.steps} at most"
            )
        if self.outer.keys() != self.learned:
            by = ", ".join(f"{key}: {part.word}" for key, part in self.parts().items())
            by += f", labels.learned: {str(self.labels.learned).lower()}"
            yield (
                f"outer: has {sorted(self.outer)}, but what is learned is {sorted(self.learned)} ({by}); name exactly "
                "these (null takes an inherited one out)"
            )

    def unstoppable(self, stop: Stop) -> Iterator[str]:
        """Why `stop` cannot end the run."""
        if not self.objective.validates:
            told = "has no loss on images other than its own batches; take stop out (null)"
            yield f"stop: objective {self.objective.name!r} {told}"
        elif lacking := self.objective.accepts - stop.students.gives:
            told = f"gives no {' and no '.join(sorted(lacking))}, which objective {self.objective.name!r} needs"
            yield f"{JUDGES}: {stop.students.name!r} {told}; choose {self.students.name}"
        if self.average is not None:
            yield "average: with stop the set is handed over that did best; set it to null, or stop"
        if stop.every > self.iterations:
            told = f"the run ends after {self.iterations} iterations, before it is looked at; lower it to that"
            yield f"stop.every: {told}, or set stop to null"

    def shown(self, shape: Shape, ipc: int) -> int:
        return self.synthetic.peopled(shape) * self.synthetic.examples(shape, ipc)

    def takes(self, ipc: int) -> tuple[int, str]:
        return self.synthetic.takes(ipc)

    def refusal(self, shape: Shape, ipc: int) -> str | None:
        if why := self.synthetic.refusal(shape, ipc):
            return f"synthetic.{why}"
        blocks, most = self.objective.divides, self.synthetic.examples(shape, ipc) * self.synthetic.styles
        if blocks and blocks > most and self.synthetic.course is None:
            return f"objective.blocks: {most} examples of a class do not divide into {blocks} blocks; set it to {most}"
        return None

    def floats(self, shape: Shape, ipc: int) -> int:
        return self.synthetic.floats(shape, ipc)

    def trainings(self, shape: Shape, ipc: int) -> Iterator[tuple[str, int, int]]:
        shown = self.shown(shape, ipc)
        for key, part in self.parts().items():
            for images, batch in part.trainings(shown, shown * self.synthetic.styles):
                yield key, images, batch

    def augments(self) -> dict[str, str]:
        own = {f"{key}.augment": part.augment for key, part in self.parts().items() if hasattr(part, "augment")}
        return {"augment": self.augment} | own

    @property
    def hints(self) -> dict[str, str]:
        return self.objective.hints | self.students.hints

    @property
    def known(self) -> dict[str, int]:
        return self.objective.known

    @property
    def guessed(self) -> dict[str, int]:
        return self.students.guessed

    @property
    def floors(self) -> dict[str, tuple[str, float]]:
        own = self.objective
        return {name: (f"objective.{key}", getattr(own, key)) for name, key in own.floors.items()}

    @property
    def whole(self) -> bool:
        return self.synthetic.whole

    @property
    def generated(self) -> bool:
        return self.synthetic.generated

    @property
    def epochs(self) -> int | None:
        return self.students.epochs

    @property
    def steps(self) -> int:
        return self.iterations + (self.warm.iterations if self.warm else 0)

    @property
    def distils(self) -> bool:
        return self.steps > 0 and (bool(self.synthetic.learned) or self.labels.learned)

    def lighter(self, shown: int) -> dict[str, Any]:
        order = ("objective", "students", "regulariser", "synthetic")
        parts = self.parts()
        found = {
            f"{name}.{key}": value
            for name in order
            if name in parts
            for key, value in parts[name].lighter(shown).items()
        }
        return found | (halved(real_batch=self.real_batch) if self.objective.draws_real else {})

    def work(self, scene: Scene) -> Work:
        """What all parts do for one set."""
        done: Work = Counter()
        for key, part in self.parts().items():
            if key == WARM and self.warm is not None:
                own = self.model_copy(update={"iterations": self.warm.iterations})
                done.update(part.work(replace(scene, chosen=own)))
            elif key == JUDGES and self.stop is not None:
                looks = self.iterations // self.stop.every
                own = self.model_copy(update={"iterations": looks, "students": part})
                looked = scene.classes * min(self.stop.per_class, scene.data.per_class)
                again = replace(scene, chosen=own)
                done.update(part.work(again))
                done.update(
                    times(looks, self.stop.students.judging(again, self.shown(scene.data.shape, scene.ipc), looked))
                )
            else:
                done.update(part.work(scene))
        return done
