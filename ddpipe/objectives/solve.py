"""Label Solve (Nguyen et al., ICLR 2021): the targets with which kernel ridge regression fits all real images best.

The predictions for real images x_t are linear in the set's targets y, A y with A = K_ts (K_ss + lambda I)^-1, and the
least squares are at y* = pinv(A) y_t. Of a quadratic form Newton's step leads there from anywhere: its negative,
y - y*, is given as the gradient by the targets, so that SGD with a step size of 1 ends there after one step. Images, of
a set that learns any, have the gradient of the loss with the targets as they are.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.memory import images_at_once
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.objectives.ridge import scores
from ddpipe.randomness import Streams
from ddpipe.settings.objectives import solve as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic
from ddpipe.training.ridge import coefficients


def predicting(across: Tensor, own: Tensor, regularisation: float) -> Tensor:
    """A (m, n) float64, from the kernels of m real images with those of the set (m, n), and of these (n, n)."""
    return across.double() @ coefficients(own, torch.eye(len(own), dtype=own.dtype, device=own.device), regularisation)


def best(linear: Tensor, wanted: Tensor) -> Tensor:
    """pinv(A) y_t, (n, K); no numbers where A (m, n) has none: whoever watches the targets sees it."""
    if not bool(linear.isfinite().all()):
        return wanted.new_full((linear.shape[1], wanted.shape[1]), torch.nan)
    return torch.linalg.pinv(linear) @ wanted


class LabelSolve(Objective):
    """The objective of LS."""

    def __init__(self, config: record.LabelSolve):
        self.config = config

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        assert student.kernel is not None, "the record accepts kernels only"
        images, targets = synthetic.decode()
        draw = augment.draw(rng("augment"), 1, *images.shape[-2:])
        shown = augment(images, draw)
        rows = torch.arange(len(real.labels)).split(images_at_once(real.images[0].numel()))
        across = torch.cat([student.kernel.cross(augment(real.batch(part), draw), shown) for part in rows])
        wanted = scores(real.labels, targets.shape[1])
        if synthetic.distributed:  # kept distributions, so held against distributions
            wanted = wanted + 1 / targets.shape[1]
        linear = predicting(across, student.kernel.own(shown), self.config.regularisation)
        value = (linear @ targets.detach().double() - wanted).square().mean() / 2
        step = targets.detach() - best(linear.detach(), wanted).to(targets)
        starts = [(value, torch.ones_like(value)), (targets, step)]
        outputs, gradients = zip(*([pair for pair in starts if pair[0].requires_grad] or starts[:1]), strict=True)
        yield Loss(value.detach(), outputs, gradients)


def make(config: record.LabelSolve, context: Context) -> LabelSolve:
    return LabelSolve(config)
