"""Examinations of many networks on one set, of which each is kept once it is finished."""

from dataclasses import dataclass
from typing import Any

from ddpipe import settings
from ddpipe.device import free_memory
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.errors import UserError
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.examination import Examination
from ddpipe.evaluation.trouble import explanation
from ddpipe.meter import Meter, shared
from ddpipe.progress import Progress
from ddpipe.randomness import Streams
from ddpipe.training.together import regroup


@dataclass
class Kept:
    """What is known of the networks 0, 1, ... of one set, and which are left to be trained."""

    store: Checkpoints
    pieces: list[dict[str, Any]]  # of each network its score, its cost and its company; {} where it is left
    left: list[int]
    groups: list[list[int]]  # of those that are left: who must be trained again in the company of others

    @classmethod
    def of(cls, store: Checkpoints, count: int, together: int | None) -> "Kept":
        """What `store` has of `count` networks, at most `together` of which are trained at once."""
        read = [store.read(str(student)) for student in range(count)]
        # earlier versions kept no accuracies of classes: such a network is made again
        pieces = [piece[1] if piece and "per_class" in piece[1] else {} for piece in read]
        return cls(store, pieces, *regroup([piece.get("group", []) for piece in pieces], together))

    def finish(
        self,
        examination: Examination,
        data: TrainingSet,
        run: settings.Run,
        names: tuple[str | int, ...],
        progress: Progress,
        key: str,
        where: str,
    ) -> None:
        """Train and test the networks that are left, as many at once as `run` says.

        Args:
            names: of their random numbers, before the number of each network.
            key: of the protocol.
            where: the set in words.

        Raises:
            UserError: a network diverges, or the memory does not suffice; what was finished is kept.
        """
        size = examination.at_once(run, data, free_memory(examination.device)) if self.left else 1
        new = [student for student in self.left if not any(student in group for group in self.groups)]
        for group in [*self.groups, *(new[first : first + size] for first in range(0, len(new), size))]:
            meter = Meter(examination.device)
            try:
                scores = examination.scores(data, [Streams(*names, student) for student in group], progress.advance)
            except (UserError, RuntimeError, MemoryError) as error:
                if told := explanation(error, examination, key, where, data, len(group)):
                    raise UserError(told) from error
                raise
            cost = shared(meter.record(), len(group))
            for student, score in zip(group, scores, strict=True):
                self.pieces[student] = score._asdict() | {"cost": cost, "group": group}
                self.store.write(str(student), {}, **self.pieces[student])
        self.left, self.groups = [], []
