"""LD's first-order variant (Bohdal et al., 2020), with ridge regression: survey section 4.1, the text after Eq. 11.

The last layer w of a network that goes on learning from the set is a mean over ridge regressions, which are linear in
the labels; the network's own last layer is of no use. With F = [h(x), 1] the features h of a random subset of the set:

1. w <- (1 - mixing) w + mixing F^T (F F^T + lambda I)^-1 Y, of which the former w is a constant;
2. descend in the mean cross-entropy of s [h, 1] w on a real batch, whose features are constants;
3. h and the factor s take steps of Adam along the gradient of the mean cross-entropy of s F w with the new labels Y,
   through w: in the regression stand those before 2.

With a new network w starts at zero, s at one.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.passes import Passes
from ddpipe.datasets.resident import Resident
from ddpipe.networks import Classifier
from ddpipe.objectives.glimpse import glimpse, percent_wrong
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.settings.objectives import regression as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic
from ddpipe.training.optimizers import Adam
from ddpipe.training.states import Stateful, joined, load

BETAS, EPS = (0.9, 0.999), 1e-8  # torch's


def with_one(features: Tensor) -> Tensor:
    """(n, F) -> (n, F + 1): a last column of ones."""
    return torch.cat([features, torch.ones_like(features[:, :1])], 1)


def ridge(features: Tensor, targets: Tensor, regularisation: float) -> Tensor:
    """(F, K): X^T (X X^T + lambda I)^-1 Y for features X (n, F) and targets Y (n, K)."""
    system = features @ features.T + regularisation * torch.eye(
        len(features), dtype=features.dtype, device=features.device
    )
    return features.T @ torch.linalg.solve(system, targets)


class Head:
    """The last layer of a network: weights (F + 1, K), bias in the last row, and a factor (1,) with an Adam."""

    def __init__(self, network: Classifier, scale_lr: float):
        weight = network.classifier.weight
        self.weights = weight.new_zeros(weight.shape[1] + 1, weight.shape[0]).detach()
        self.scale = torch.ones_like(self.weights[:1, 0]).requires_grad_()
        self.adam = Adam([self.scale], scale_lr, BETAS, EPS)

    def mixed(self, features: Tensor, targets: Tensor, regularisation: float, mixing: float) -> Tensor:
        """The weights with the regression of `targets` (n, K) on `features` (n, F + 1) in them, with its graph."""
        return (1 - mixing) * self.weights + mixing * ridge(features, targets, regularisation)

    def learn(self, loss: Tensor, weights: Tensor, network: Classifier) -> list[Tensor]:
        """The gradient of `loss` by the network's parameters; the head takes its own step, and its new `weights`."""
        slope, *slopes = torch.autograd.grad(loss, [self.scale, *network.parameters()], materialize_grads=True)
        self.weights = weights.detach()
        self.adam.step([slope])
        return slopes

    def state_dict(self) -> dict[str, Tensor]:
        return {"weights": self.weights, "scale": self.scale.detach()} | self.adam.state_dict()

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.weights = state["weights"].to(self.weights)
        self.scale.copy_(state["scale"])
        self.adam.load_state_dict(state)


class Regression(Objective):
    """The objective of LD with ridge regression."""

    def __init__(self, config: record.Regression, real: Resident, network: Classifier):
        self.config, self.passes = config, Passes(real, config.batch)
        self.head = Head(network, config.scale_lr)

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        config, network = self.config, student.network
        assert network is not None, "the record accepts learners only"
        if student.age == 0:
            self.head = Head(network, config.scale_lr)
        head = self.head
        seen = glimpse(synthetic, config.subset, self.passes, augment, rng)
        features = with_one(network.embed(seen.shown.images))
        weights = head.mixed(features, seen.shown.targets, config.regularisation, config.mixing)
        with torch.no_grad():
            theirs = with_one(network.embed(seen.images))
        logits = theirs @ (head.scale.detach() * weights)
        value = F.cross_entropy(logits, seen.labels)
        yield seen.loss(value, [value], [torch.ones_like(value)])
        assert student.learn is not None
        targets = synthetic.decode(seen.rows).targets.detach()
        loss = F.cross_entropy(features @ (head.scale * weights), targets)
        student.learn(head.learn(loss, weights, network), percent_wrong(logits, seen.labels))

    def carried(self) -> dict[str, list[Tensor]]:
        return {"objective": [self.head.weights, self.head.scale]}

    def parts(self) -> dict[str, Stateful]:
        return {"passes": self.passes, "head": self.head}

    def state_dict(self) -> dict[str, Tensor]:
        return joined(self.parts())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load(self.parts(), state)


def make(config: record.Regression, context: Context) -> Regression:
    return Regression(config, context.real, context.network)
