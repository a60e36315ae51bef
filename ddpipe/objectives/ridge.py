"""Kernel ridge regression on the set: KIP (Nguyen et al., 2021), RFAD (Loo et al., 2022), FRePo (Zhou et al., 2022).

With the student's kernel K, the set (x_s, y_s) of n examples and real images x_t (survey Eq. 14-17):

1. predict K_ts (K_ss + lambda I)^-1 y_s in float64, lambda being `regularisation` times the mean of K_ss's diagonal;
2. descend in how far that is from the real images' scores (one-hot less 1 / K): half the squared distance, summed over
   the classes (FRePo) or their mean (KIP; the survey's Eq. 15 has a sum); or in the cross-entropy of exp(k) times that
   with their classes, of which k is learned too: the inverse temperature of Platt's scaling (RFAD).

FRePo shows each image of the set mirrored too, with the same target, and pushes the two largest numbers of every target
apart until they are 1 / K from each other.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.passes import Passes
from ddpipe.datasets.resident import Resident
from ddpipe.errors import UserError
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.sending import sent
from ddpipe.settings.objectives import ridge as record
from ddpipe.students.kernel import Kernel
from ddpipe.students.student import Student
from ddpipe.synthetic import Batch, Synthetic
from ddpipe.training.criteria import squared_error
from ddpipe.training.loop import Diverged
from ddpipe.training.ridge import coefficients


def predictions(kernel: Kernel, real: Tensor, shown: Batch, regularisation: float) -> Tensor:
    """(m, K) float64, of m real images by the regression on what is shown of the set.

    Raises:
        UserError: there is none; the sentence begins with the key.
    """
    across, own = kernel.cross(real, shown.images), kernel.own(shown.images)
    try:
        return across.double() @ coefficients(own, shown.targets, regularisation)
    except Diverged as error:
        raise UserError(f"objective.{error}") from error


def scores(labels: Tensor, classes: int) -> Tensor:
    """(m, K) float64: one-hot less 1 / K."""
    return F.one_hot(labels, classes).double() - 1 / classes


def label_loss(targets: Tensor) -> Tensor:
    """FRePo's: minus the mean over targets (n, K) of how far the two largest numbers are apart, 1 / K at most."""
    largest = targets.topk(2, dim=1).values
    return -(largest[:, 0] - largest[:, 1]).clamp(max=1 / targets.shape[1]).mean()


def doubled(batch: Batch) -> Batch:
    """The examples, then each of them mirrored."""
    return Batch(torch.cat([batch.images, batch.images.flip(3)]), torch.cat([batch.targets, batch.targets]))


class RidgeRegression(Objective):
    """The objective of KIP, FRePo and RFAD.

    Args:
        flip: False where a mirrored image is another class.
    """

    def __init__(self, config: record.RidgeRegression, real: Resident, real_batch: int, flip: bool):
        self.config, self.real_batch, self.flipped = config, real_batch, config.flipped and flip
        self.passes = Passes(real, config.batch) if config.batch and config.passes else None
        self.k = torch.zeros((), device=real.labels.device).requires_grad_()  # log of the inverse temperature

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        images, targets = synthetic.decode()
        theirs, labels = self.real_side(real, rng)
        draw = augment.draw(rng("augment"), 1, *images.shape[-2:])
        value = self.held(Batch(augment(images, draw), targets), student, augment(theirs, draw), labels)
        if self.config.margin:  # the least that it can be is -1 / K
            value = value + label_loss(targets) + 1 / targets.shape[1]
        yield Loss(value.detach(), value)

    def held(self, shown: Batch, student: Student, images: Tensor, labels: Tensor) -> Tensor:
        """(): the regression on what is shown, held against real images (m, c, h, w) of the classes `labels` (m,)."""
        assert student.kernel is not None, "the record accepts kernels only"
        seen = doubled(shown) if self.flipped else shown
        found = predictions(student.kernel, images, seen, self.config.regularisation)
        if self.config.criterion == "platt":
            return F.cross_entropy(self.k.exp() * found, labels)
        distance = squared_error(found, scores(labels, found.shape[1]))
        return distance if self.config.criterion == "squared-error" else distance / found.shape[1]

    def real_side(self, real: Resident, rng: Streams) -> tuple[Tensor, Tensor]:
        """Images (m, c, h, w) and labels (m,) of the batches of an iteration."""
        config, draw = self.config, rng("real")
        if self.passes is not None:
            images, labels = zip(*(self.passes.next(draw) for _ in range(config.batches)), strict=True)
            return torch.cat(images), torch.cat(labels)
        if config.batch is None:
            parts = [real.sample_index(label, self.real_batch, draw) for label in range(len(real.class_index))]
        else:
            parts = [torch.randperm(len(real.labels), generator=draw)[: config.batch] for _ in range(config.batches)]
        rows = torch.cat(parts)
        return real.batch(rows), real.labels[sent(rows, real.labels.device)]

    @torch.no_grad()
    def validation(self, synthetic: Synthetic, student: Student, images: Tensor, labels: Tensor) -> Tensor:
        """(): the loss on real images, nothing of it learned or drawn."""
        return self.held(synthetic.decode(), student, images, labels)

    def groups(self) -> dict[str, list[Tensor]]:
        return {"temperature": [self.k]} if self.config.learned else {}

    def state_dict(self) -> dict[str, Tensor]:
        return {"k": self.k.detach()} | (self.passes.state_dict() if self.passes else {})

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.k.copy_(state["k"])
        if self.passes is not None:
            self.passes.load_state_dict(state)


def make(config: record.RidgeRegression, context: Context) -> RidgeRegression:
    return RidgeRegression(config, context.real, context.real_batch, context.flip)
