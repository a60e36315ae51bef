"""What the loop asks of an objective, and what one inherits that learns nothing and keeps nothing."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor

from ddpipe.augmentation import Policy
from ddpipe.datasets.resident import Resident
from ddpipe.objectives.loss import Loss
from ddpipe.randomness import Streams
from ddpipe.students.stateless import Stateless
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic


class Objective(Stateless, ABC):
    @abstractmethod
    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        """One loss for every outer step of this iteration."""

    def validation(self, synthetic: Synthetic, student: Student, images: Tensor, labels: Tensor) -> Tensor:
        """(): the loss on real images (m, c, h, w) of the classes `labels` (m,), of those whose record `validates`."""
        raise NotImplementedError

    def groups(self) -> dict[str, list[Tensor]]:
        """What the objective learns itself, for the outer optimiser."""
        return {}

    def project_(self) -> None:
        """Bring what it learns back to where it may lie."""
