"""Networks trained by squared errors at a share of the largest stable step size of each: KIP's transfer to finite ones.

With g(x) the sum of the logits over the root of their number, and lambda the largest eigenvalue of the tangent kernel
of g at the first weights on N images, that is 2 N / lambda for half the squared distance, summed over the classes and
averaged over images: beyond it gradient descent on the linearised network diverges. KIP's code takes 50 real images
that it holds out; here they are the set's own, on which the network is trained.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.evaluation import trained
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.trained import Numbers, Training
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.training.together import Group, together

ENOUGH, MOST = 1e-4, 100  # relative change that ends the power iteration, and steps of it


def largest_rate(eigenvalue: float, outputs: int) -> float:
    """The largest stable step size of half the squared distance, averaged over so many outputs."""
    return 2 * outputs / (eigenvalue + 1e-12)


def largest_eigenvalue(network: Classifier, images: Tensor) -> float:
    """Of the tangent kernel (N, N) of the sum of the logits over the root of their number; by power iteration."""
    parameters = list(network.parameters())
    logits = network(images)
    outputs = logits.sum(1) / logits.shape[1] ** 0.5
    vector, found = torch.full_like(outputs, len(images) ** -0.5).detach(), 0.0
    for _ in range(MOST):
        vector.requires_grad_()
        slopes = torch.autograd.grad(outputs @ vector, parameters, create_graph=True)  # J^T v, linear in v
        (image,) = torch.autograd.grad(slopes, vector, [slope.detach() for slope in slopes], retain_graph=True)
        before, found = found, float(image.norm())
        if abs(found - before) <= ENOUGH * found:
            break
        vector = image / found
    return found


def make(protocol: settings.Critical, flip: bool) -> "Critical":
    return Critical(protocol, flip)


class Critical(Training):
    config: settings.Critical

    def gather(self, network: Classifier, size: int) -> Group:
        """Each has a step size of its own."""
        return together(network, 1, self.config.precision, self.config.criterion)

    def images(self, data: TrainingSet) -> int:
        return 0

    def fit(
        self, group: Group, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> Iterator[Classifier]:
        for rng in streams:
            yield from super().fit(group, data, [rng], passed)

    def paced(self, config: Numbers, group: Group, data: TrainingSet) -> Numbers:
        count = min(self.config.images, data.size)
        shown = data.fetch(torch.arange(count) * data.size // count).images
        return config.model_copy(
            update={"lr": config.lr * largest_rate(largest_eigenvalue(group.network, shown), count)}
        )


# --- for programs that know nothing of ddpipe -------------------------------------------------------------------------


def exported(protocol: settings.Critical, flip: bool, hints: Mapping[str, Tensor]) -> dict[str, Any]:
    return trained.exported(protocol, flip, hints) | {"images": protocol.images}


def words(rules: dict[str, Any], factorised: bool) -> list[str]:
    return [
        *trained.words(rules, factorised),
        f"Learning rates are shares of 2 N / lambda: lambda is the largest eigenvalue of the tangent kernel, at the "
        f"first weights, of the sum of the logits over the root of their number on N images of the set, evenly spread, "
        f"at most {rules['images']}.",
    ]
