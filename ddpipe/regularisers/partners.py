"""IT-GAN's L_R (Zhao and Bilen, 2022), which keeps a set as diverse as the images that it began as.

The loss of the objective it wraps becomes (1 - lambda) L + lambda L_R. L_R is the sum over classes of the mean over a
random batch of the class of || psi(A(G(z_i))) - psi(A(x_i)) ||^2: x_i the real image that example i began as, psi the
embedding of the objective's own student, one augmentation A for a class. The paper has both terms; that a class counts
by its mean, as in distribution matching, is designed here, and the published lambda is not known.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.networks import Classifier
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.regularisers.contrast import joined
from ddpipe.settings.regularisers import partners as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic
from ddpipe.synthetic.paired import Paired


def apart(given: Tensor, wanted: Tensor, classes: Tensor) -> Tensor:
    """Sum over the classes at hand of the mean squared distance of features (n, F), row by row; classes are (n,)."""
    distances = (given - wanted).square().sum(1)
    return (distances / classes.bincount()[classes]).sum()


class Partners(Objective):
    """`objective` with L_R beside it."""

    def __init__(self, config: record.Partners, objective: Objective):
        self.config, self.objective = config, objective

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        assert student.network is not None, "`compose` pairs it with objectives that ask for networks"
        weight = self.config.weight
        for loss in self.objective.losses(synthetic, student, real, augment, rng):
            term = self.distance(cast(Paired, synthetic), student.network, real, augment, rng)
            yield joined(scaled(loss, 1 - weight), term, weight)

    def distance(self, synthetic: Paired, network: Classifier, real: Resident, augment: Policy, rng: Streams) -> Tensor:
        """L_R of a random batch."""
        batch = self.config.batch or max(synthetic.sizes)
        index = next(synthetic.balanced(rng("regulariser.batches"), batch))
        sizes = [min(batch, size) for size in synthetic.sizes if size]
        partners = real.batch(synthetic.partners[index])
        index = synthetic.at(index)
        images, classes = synthetic.decode(index).images, synthetic.classes[index]
        draws = [augment.draw(rng("regulariser.augment"), 1, *images.shape[-2:]) for _ in sizes]

        def embedded(x: Tensor) -> Tensor:
            blocks = zip(x.split(sizes), draws, strict=True)
            return network.embed(torch.cat([augment(block, draw) for block, draw in blocks]))

        with torch.no_grad():
            wanted = embedded(partners)
        return apart(embedded(images), wanted, classes)

    def groups(self) -> dict[str, list[Tensor]]:
        return self.objective.groups()

    def project_(self) -> None:
        self.objective.project_()

    def hints(self, synthetic: Synthetic) -> dict[str, Tensor]:
        return self.objective.hints(synthetic)

    def carried(self) -> dict[str, list[Tensor]]:
        return self.objective.carried()

    def state_dict(self) -> dict[str, Any]:
        return self.objective.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.objective.load_state_dict(state)


def scaled(loss: Loss, factor: float) -> Loss:
    """`factor` times the loss."""
    outputs = [loss.output] if isinstance(loss.output, Tensor) else loss.output
    gradients = [torch.ones_like(output) for output in outputs] if loss.gradient is None else loss.gradient
    gradients = [gradients] if isinstance(gradients, Tensor) else gradients
    return Loss(factor * loss.value, outputs, [factor * gradient for gradient in gradients])


def make(config: record.Partners, context: Context, objective: Objective) -> Partners:
    return Partners(config, objective)
