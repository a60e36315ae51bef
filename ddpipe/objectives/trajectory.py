"""Trajectory matching: MTT (Cazenavette et al., CVPR 2022), FTD, TESLA, HaBa; survey Eq. 30.

A student that starts where an expert was after epoch k and takes N steps on the set shall arrive where the expert was
after epoch k + M:

1. draw an expert and k (the students' business), theta_0 = theta*_k;
2. take N steps of plain SGD with the learned step size, each on one augmented batch of the set;
3. L = |theta_N - theta*_(k+M)|^2 / |theta*_k - theta*_(k+M)|^2; descend in the set and in the step size.

The gradient is exact either way: by the reverse sweep, which holds one step's graph (`ddpipe.training.sweep`), or
through the graph of all steps ("full"). "truncated" is TESLA's, which leaves out how a batch moves the later steps.
"""

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.networks import Classifier
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.settings.objectives import trajectory as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Batch, Synthetic
from ddpipe.training.replayed import replayed
from ddpipe.training.sweep import Compiled, Gradient, sweep, through_graph, walk

CHUNK = 256  # images labelled at once


def distance(end: Tensor, start: Tensor, target: Tensor) -> Tensor:
    """Survey Eq. 30: squared distance of `end` from `target`, relative to that of `start`; all (P,)."""
    return (end - target).square().sum() / (start - target).square().sum()


class TrajectoryMatching(Objective):
    """The objective of MTT, FTD, TESLA and HaBa; learns the student's step size."""

    def __init__(self, config: record.TrajectoryMatching, compiled: bool = False, device: torch.device | str = "cpu"):
        self.config, self.compiled = config, compiled
        self.lr = torch.tensor(config.lr, device=device, requires_grad=True)
        self.kept: Gradient | None = None
        self.agreement = torch.tensor(
            1.0, device=device
        )  # share of the images whose soft label has their class as its largest

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        assert student.segment is not None and student.network is not None, "the record accepts segments only"
        start, target = student.segment
        gradient = self.gradient(student.network)
        if self.config.soft_labels:
            self.assign_targets_(synthetic, gradient, target)
        batches = []
        rows = list(islice(synthetic.batches(rng("synthetic.batches"), self.config.batch), self.config.steps))
        for index in synthetic.ready(rows):
            images, targets = synthetic.decode(index)
            draw = augment.draw(rng("augment"), len(images), *images.shape[-2:])
            batches.append(Batch(augment(images, draw), targets))
        yield self.match(gradient, start, target, batches)

    def gradient(self, network: Classifier) -> Gradient:
        """Kept from one iteration to the next: what was compiled for this network shall serve again."""
        if self.kept is None or self.kept.network is not network:
            plain = Compiled if self.compiled else Gradient
            self.kept = replayed(plain(network), network.classifier.weight.device)
        return self.kept

    @torch.no_grad()
    def assign_targets_(self, synthetic: Synthetic, gradient: Gradient, target: Tensor) -> None:
        """TESLA's soft labels: what the expert at the end of the segment says of the images, not augmented."""
        images = synthetic.decode().images
        given = torch.cat([gradient.logits(target, part).softmax(1) for part in images.split(CHUNK)])
        self.agreement = (given.argmax(1) == synthetic.classes).float().mean()
        synthetic.assign_targets_(given)

    def match(self, gradient: Gradient, start: Tensor, target: Tensor, batches: list[Batch]) -> Loss:
        """The loss of one student on the given augmented batches, its gradient taken up to their images and targets."""
        lr = self.lr.to(start)  # with its graph, which leads to where the outer optimiser has it
        # all of them are learned or none
        images = [batch.images for batch in batches if batch.images.requires_grad]
        targets = [batch.targets for batch in batches if batch.targets.requires_grad]
        if self.config.gradient == "full":
            alone = [Batch(*(part.detach().requires_grad_(part.requires_grad) for part in batch)) for batch in batches]
            rate = lr.detach().requires_grad_()
            value = distance(through_graph(gradient, start, alone, rate)[-1], start, target)
            inputs = [batch.images for batch in alone if images] + [batch.targets for batch in alone if targets]
            *moved, by_lr = torch.autograd.grad(value, (*inputs, rate))
        else:
            taken = walk(gradient, start, batches, lr)
            end = taken.thetas[-1]
            value = distance(end, start, target)
            pull = 2 * (end - target) / (start - target).square().sum()
            slopes = sweep(taken, {len(batches): pull}, self.config.gradient == "truncated")
            moved, [by_lr] = slopes.get("images", []) + slopes.get("targets", []), slopes["lr"]
        return Loss(value.detach(), (*images, *targets, lr), (*(self.config.factor * move for move in moved), by_lr))

    def groups(self) -> dict[str, list[Tensor]]:
        return {"lr": [self.lr]}

    @torch.no_grad()
    def project_(self) -> None:
        """Left alone the step size may become negative or explode, and the images with it."""
        self.lr.clamp_(min=self.config.smallest_lr)

    def hints(self, synthetic: Synthetic) -> dict[str, Tensor]:
        soft = {"agreement": self.agreement} if self.config.soft_labels else {}
        return {"lr": self.lr.detach()} | soft

    def state_dict(self) -> dict[str, Tensor]:
        return {"lr": self.lr.detach(), "agreement": self.agreement}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.lr.copy_(state["lr"])
        self.agreement = state["agreement"].to(self.lr)


def make(config: record.TrajectoryMatching, context: Context) -> TrajectoryMatching:
    return TrajectoryMatching(config, context.compiled, context.real.labels.device)
