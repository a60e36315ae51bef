"""LD's second-order variant (Bohdal et al., 2020): survey section 4.1, the text after Eq. 11.

A network goes on learning from the set, one step an iteration. After a step ahead it shall do well on real images:

1. l = the mean cross-entropy of the network theta on a random subset of the set; theta' = theta - lr dl/dtheta;
2. descend in the mean cross-entropy of theta' on a real batch, through the step ahead;
3. theta takes a step of its own optimiser along dl/dtheta, of the set as it was before 2; theta' is forgotten.

Only the step ahead is differentiated: nothing is unrolled.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.passes import Passes
from ddpipe.datasets.resident import Resident
from ddpipe.networks import Classifier, has_batch_norm
from ddpipe.networks.block import twice
from ddpipe.objectives.glimpse import glimpse, percent_wrong
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.settings.objectives import lookahead as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Batch, Synthetic


def step_ahead(network: Classifier, batch: Batch, lr: float) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The gradient of the mean cross-entropy on `batch`, and the parameters a step along it; both with their graph."""
    named = dict(network.named_parameters())
    with twice():
        loss = F.cross_entropy(network(batch.images), batch.targets)
    slopes = torch.autograd.grad(loss, list(named.values()), create_graph=True)
    return list(slopes), {name: p - lr * slope for (name, p), slope in zip(named.items(), slopes, strict=True)}


def look(
    network: Classifier, weights: dict[str, Tensor], images: Tensor, labels: Tensor, chunk: int, pulls: bool = True
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The logits (r, K) of the network with the given parameters, their mean cross-entropy, and its derivatives.

    Args:
        chunk: images at once.
        pulls: whether to take the derivatives by the parameters.
    """
    leaves = {name: weight.detach().requires_grad_(pulls) for name, weight in weights.items()}
    found, total = [], [torch.zeros_like(leaf) for leaf in leaves.values() if pulls]
    for part, own in zip(images.split(chunk), labels.split(chunk), strict=True):
        with torch.set_grad_enabled(pulls):
            logits = functional_call(network, leaves, (part,))
        found.append(logits.detach())
        if pulls:
            share = F.cross_entropy(logits, own, reduction="sum") / len(images)
            torch._foreach_add_(total, torch.autograd.grad(share, list(leaves.values())))
    together = torch.cat(found)
    return together, F.cross_entropy(together, labels), total


class Lookahead(Objective):
    """The objective of LD, second order."""

    def __init__(self, config: record.Lookahead, real: Resident):
        self.config, self.passes = config, Passes(real, config.batch)

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        assert student.network is not None, "the record accepts learners only"
        seen = glimpse(synthetic, self.config.subset, self.passes, augment, rng)
        slopes, ahead = step_ahead(student.network, seen.shown, self.config.lr)
        chunk = len(seen.images) if has_batch_norm(student.network) else self.config.chunk
        logits, value, pulls = look(student.network, ahead, seen.images, seen.labels, chunk, seen.moves)
        yield seen.loss(value, list(ahead.values()), pulls)
        assert student.learn is not None
        student.learn([slope.detach() for slope in slopes], percent_wrong(logits, seen.labels))

    def state_dict(self) -> dict[str, Tensor]:
        return self.passes.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.passes.load_state_dict(state)


def make(config: record.Lookahead, context: Context) -> Lookahead:
    return Lookahead(config, context.real)
