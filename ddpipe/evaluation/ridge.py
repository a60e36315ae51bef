"""Kernel ridge regression on a set: how KIP, FRePo and RFAD measure theirs, here in the features of finite networks.

With features F_s of the set and F_t of other images the prediction is F_t F_s^T (F_s F_s^T + lambda I)^-1 y, where
lambda is `regularisation` times trace(F_s F_s^T) / n. That is a linear head F_s^T (...)^-1 y on the features, so the
network itself predicts, once it has this head.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.errors import UserError
from ddpipe.evaluation import trained
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.rule import Rule
from ddpipe.memory import images_at_once
from ddpipe.networks import Classifier
from ddpipe.networks.weightnorm import keep_weights_
from ddpipe.randomness import Streams
from ddpipe.training.ridge import factor
from ddpipe.training.together import Group


def make(protocol: settings.Ridge, flip: bool) -> "Ridge":
    return Ridge(protocol, trained.Training(protocol.training, flip) if protocol.training else None)


def head(features: Tensor, targets: Tensor, regularisation: float) -> Tensor:
    """The weights (F, K) of kernel ridge regression of `targets` (n, K) on `features` (n, F); solved in float64.

    In the smaller of the two spaces: F^T (F F^T + lambda I)^-1 = (F^T F + lambda I)^-1 F^T.

    Raises:
        Diverged: when the system has no solution in these numbers.
    """
    x, y = features.double(), targets.double()
    n, width = x.shape
    system, right = (x @ x.T, y) if n <= width else (x.T @ x, x.T @ y)
    penalty = regularisation * x.square().sum() / n
    system.diagonal().add_(penalty)
    solved = torch.cholesky_solve(right, factor(system))
    return x.T @ solved if n <= width else solved


class Ridge(Rule):
    def __init__(self, config: settings.Ridge, training: trained.Training | None):
        self.config, self.training = config, training
        self.ticks = training.ticks if training else 1

    def gather(self, network: Classifier, size: int) -> Group:
        return self.training.gather(network, size) if self.training else super().gather(network, size)

    def images(self, data: TrainingSet) -> int:
        return self.training.images(data) if self.training else 0

    def brief(self, steps: int) -> Rule | None:
        return self.training.brief(steps) if self.training else None

    def fit(
        self, group: Group, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> Iterator[Classifier]:
        if self.training:
            members = self.training.fit(group, data, streams, passed)
        else:
            group.initialise_([rng("init") for rng in streams])
            members = group.members()
        for network in members:
            give_head_(network, data.scores(), self.config.regularisation)
            if not self.training:
                passed()
            yield network

    def check(self, hints: Mapping[str, Tensor], examples: int, where: str) -> None:
        if self.training:
            under_key("training.", self.training.check, hints, examples, where)

    def diverged(self, error: UserError, data: TrainingSet, where: str) -> str:
        if self.training is None or str(error).startswith("regularisation"):
            return str(error)
        return f"training.{self.training.diverged(error, data, where)}"


def under_key(key: str, function: Callable[..., None], *arguments: Any) -> None:
    """Call `function`; its UserError's sentence then begins with `key`."""
    try:
        function(*arguments)
    except UserError as error:
        raise UserError(f"{key}{error}") from error


@torch.no_grad()
def give_head_(network: Classifier, data: TrainingSet, regularisation: float) -> None:
    """Replace the last layer of `network` by the regression on the whole set in its features, without a shift."""
    network.eval()
    rows, images = torch.arange(data.size), images_at_once(data.fetch(slice(0, 1)).images.numel())
    batches = [data.fetch(part) for part in rows.split(images)]
    features = torch.cat([network.embed(batch.images) for batch in batches])
    weights = head(features, torch.cat([batch.targets for batch in batches]), regularisation)
    network.classifier.weight.copy_(weights.T)
    network.classifier.bias.zero_()
    keep_weights_(network.classifier)


# --- for programs that know nothing of ddpipe -------------------------------------------------------------------------


def exported(protocol: settings.Ridge, flip: bool, hints: Mapping[str, Tensor]) -> dict[str, Any]:
    training = trained.exported(protocol.training, flip, hints) if protocol.training else None
    return {"networks": protocol.networks, "regularisation": protocol.regularisation, "training": training}


def words(rules: dict[str, Any], factorised: bool) -> list[str]:
    before = (
        ["The network is trained first:", *trained.words(rules["training"], factorised)]
        if rules["training"]
        else ["The network keeps its first weights."]
    )
    return [
        *before,
        "Then its last layer is replaced by the ridge regression of the scores (`targets`, less 1 / K where they are "
        "distributions) on what enters it for the images of the set, without a shift.",
        f"The penalty is {rules['regularisation']:g} times the mean square norm of these features.",
    ]
