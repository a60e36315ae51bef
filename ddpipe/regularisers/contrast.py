"""HaBa's adversarial contrast (Liu et al., NeurIPS 2022): a second player that sees one base through two hallucinators.

The set shall show different things through different hallucinators, an extractor shall recognise the base through them.
With every outer step of the objective that it wraps:

1. the loss of the set gets `weight` times the mean of (1 + cos) / 2, the cosine taken between the extractor's features
   of the same bases through two hallucinators;
2. afterwards the extractor, which is never reset, takes a step of SGD on the cross-entropy of its head, the mean of
   (1 - cos) / 2 and the supervised contrastive loss (Khosla et al., NeurIPS 2020), on other bases.

Bases come from the same generator as the student's batches, after them.
"""

import copy
from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.networks import Classifier, initialise_
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.settings.regularisers import contrast as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Factorised, Synthetic
from ddpipe.training import states
from ddpipe.training.optimizers import Sgd


def likeness(one: Tensor, other: Tensor) -> Tensor:
    """Mean of (1 + cos) / 2 over rows of two (n, F), between 0 and 1: the set makes it small."""
    return (1 + F.cosine_similarity(one, other)).mean() / 2


def unlikeness(one: Tensor, other: Tensor) -> Tensor:
    """Mean of (1 - cos) / 2: the extractor makes it small."""
    return (1 - F.cosine_similarity(one, other)).mean() / 2


def supervised_contrast(one: Tensor, other: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """The supervised contrastive loss of two views (n, F) of n examples of classes `labels` (n,).

    Over all 2n anchors a, the mean of -1/|P(a)| sum over p in P(a) of log softmax over all others of s(a, .) at p,
    where P(a) are the others of the same class and s is the cosine divided by the temperature.
    """
    features = F.normalize(torch.cat([one, other]))  # 2n F
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    scores = (features @ features.T / temperature).masked_fill(itself, -torch.inf)  # 2n 2n
    both = labels.repeat(2)
    same = (both[:, None] == both) & ~itself
    logs = scores.log_softmax(1).masked_fill(~same, 0)
    return -(logs.sum(1) / same.sum(1)).mean()


class Contrast(Objective):
    """`objective` with the second player beside it.

    Args:
        network: of the student's architecture; a copy of it with weights of its own is the extractor.
    """

    def __init__(self, config: record.Contrast, objective: Objective, network: Classifier, rng: Streams):
        self.config, self.objective = config, objective
        self.extractor = initialise_(copy.deepcopy(network).train(), rng("regulariser.init"))
        self.optimizer = Sgd(self.extractor.parameters(), config.lr, config.momentum)

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        factorised = cast(Factorised, synthetic)  # `compose` refuses sets without styles
        pairs = factorised.pairs(rng("synthetic.batches"), self.config.batch)
        for loss in self.objective.losses(synthetic, student, real, augment, rng):
            images, _ = self.views(synthetic, next(pairs), augment, rng)
            yield joined(loss, likeness(*self.extractor.embed(images).chunk(2)), self.config.weight)
            self.train(synthetic, next(pairs), augment, rng)

    def views(self, synthetic: Synthetic, pair: Tensor, augment: Policy, rng: Streams) -> tuple[Tensor, Tensor]:
        """Augmented images (2n, c, h, w) of the n pairs of addresses (2, n), and their targets."""
        images, targets = synthetic.decode(pair.flatten())
        return augment(images, augment.draw(rng("augment"), len(images), *images.shape[-2:])), targets

    def train(self, synthetic: Synthetic, pair: Tensor, augment: Policy, rng: Streams) -> None:
        """The extractor's own step; nothing of it reaches the set."""
        with torch.no_grad():
            images, targets = self.views(synthetic, pair, augment, rng)
            labels = synthetic.classes[synthetic.at(pair[0])]
        features = self.extractor.embed(images)
        one, other = features.chunk(2)
        loss = F.cross_entropy(self.extractor.classifier(features), targets)
        loss = loss + self.config.pull * unlikeness(one, other)
        loss = loss + self.config.supervised * supervised_contrast(one, other, labels, self.config.temperature)
        self.optimizer.step(torch.autograd.grad(loss, self.optimizer.parameters))

    def groups(self) -> dict[str, list[Tensor]]:
        return self.objective.groups()

    def project_(self) -> None:
        self.objective.project_()

    def hints(self, synthetic: Synthetic) -> dict[str, Tensor]:
        return self.objective.hints(synthetic)

    def carried(self) -> dict[str, list[Tensor]]:
        own: list[Tensor] = list(self.extractor.parameters())
        return {"regulariser": own} | self.objective.carried()

    def parts(self) -> dict[str, states.Stateful]:
        return {"objective": self.objective, "extractor": self.extractor, "optimizer": self.optimizer}

    def state_dict(self) -> dict[str, Tensor]:
        return states.joined(self.parts())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        states.load(self.parts(), state)


def joined(loss: Loss, term: Tensor, weight: float) -> Loss:
    """`loss` plus `weight` times `term`, ()."""
    outputs = [loss.output] if isinstance(loss.output, Tensor) else loss.output
    gradients = [torch.ones_like(output) for output in outputs] if loss.gradient is None else loss.gradient
    gradients = [gradients] if isinstance(gradients, Tensor) else gradients
    value = loss.value + weight * term.detach()
    return Loss(value, (*outputs, term), (*gradients, torch.full_like(term, weight)))


def make(config: record.Contrast, context: Context, objective: Objective) -> Contrast:
    return Contrast(config, objective, context.network, context.rng)
