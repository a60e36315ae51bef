"""Early stopping on real training images: RFAD (Loo et al., NeurIPS 2022). No test image is ever looked at.

After every so many iterations the objective's loss is taken on a fixed part of the training images, before students
that are the same each time. The set that had the smallest loss is kept, and ends the run once `patience` iterations
brought none with a smaller one.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.datasets.resident import Resident
from ddpipe.objectives import Objective
from ddpipe.randomness import Streams
from ddpipe.sending import sent
from ddpipe.students import Students
from ddpipe.synthetic import Synthetic


class Stop:
    """Args:
    tensors: what is learned of the set.
    path: of the run's generators.
    """

    def __init__(
        self,
        config: settings.Stop,
        students: Students,
        objective: Objective,
        real: Resident,
        tensors: Iterable[Tensor],
        path: tuple[object, ...],
    ):
        self.config, self.students, self.objective, self.real, self.path = config, students, objective, real, path
        draw = Streams(*path, "stop")("validation")
        classes = range(len(real.class_index))
        self.rows = torch.cat([real.sample_index(label, config.per_class, draw) for label in classes])
        self.tensors = list(tensors)
        self.best = [x.detach().clone() for x in self.tensors]
        self.least, self.when, self.seen = (
            math.inf,
            0,
            0,
        )  # the smallest loss, its iteration, the last that was looked at

    @property
    def over(self) -> bool:
        return self.seen - self.when >= self.config.patience

    @torch.no_grad()
    def look(self, iteration: int, synthetic: Synthetic) -> None:
        """After so many iterations: waits for the device, where it looks at all."""
        if iteration % self.config.every:
            return
        self.seen, loss = iteration, self.loss(synthetic)
        if loss < self.least:
            self.least, self.when = loss, iteration
            torch._foreach_copy_(self.best, self.tensors)

    def loss(self, synthetic: Synthetic) -> float:
        student = self.students.next(synthetic, Streams(*self.path, "stop"), 0)
        labels = self.real.labels[sent(self.rows, self.real.labels.device)]
        return float(self.objective.validation(synthetic, student, self.real.batch(self.rows), labels))

    @torch.no_grad()
    def replace_(self) -> None:
        """What is learned becomes the best that was seen."""
        if self.when:
            torch._foreach_copy_(self.tensors, self.best)

    def state_dict(self) -> dict[str, Tensor]:
        state = {str(number): value for number, value in enumerate(self.best)}
        return state | {
            "least": torch.tensor(self.least, dtype=torch.float64),
            "counts": torch.tensor([self.when, self.seen]),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for number, value in enumerate(self.best):
            value.copy_(state[str(number)])
        self.least = float(state["least"])
        self.when, self.seen = state["counts"].tolist()
