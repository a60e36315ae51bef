"""Networks trained below a last layer that is a mean of ridge regressions: the evaluation of LD's first-order variant.

What a network does while labels are learned (`ddpipe/objectives/regression.py`), with the labels as they ended.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe import augmentation, settings
from ddpipe.evaluation import styles
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.rule import Rule
from ddpipe.evaluation.trained import check_steps
from ddpipe.networks import Classifier
from ddpipe.objectives.regression import BETAS, EPS, Head, with_one
from ddpipe.randomness import Streams
from ddpipe.training.loop import Diverged, batches
from ddpipe.training.optimizers import Adam
from ddpipe.training.together import Group


def make(protocol: settings.Regressed, flip: bool) -> "Regressed":
    return Regressed(protocol)


def steps(protocol: settings.Regressed, hints: Mapping[str, Tensor]) -> int:
    return int(hints["steps"]) if protocol.learned_steps else protocol.steps


class Regressed(Rule):
    def __init__(self, config: settings.Regressed):
        self.config, self.none = config, augmentation.make("none")

    def fit(
        self, group: Group, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> Iterator[Classifier]:
        group.initialise_([rng("init") for rng in streams])
        for network, rng in zip(group.members(), streams, strict=True):
            self.train(network.train(), data, rng)
            passed()
            yield network

    def train(self, network: Classifier, data: TrainingSet, rng: Streams) -> None:
        config, fetch, head = self.config, data.seen_by(rng), Head(network, self.config.scale_lr)
        adam = Adam(network.parameters(), config.lr, BETAS, EPS)
        for _ in range(steps(config, data.hints)):
            images, targets = next(batches(fetch, data.n, config.batch, self.none, rng("train")))
            features = with_one(network.embed(images))
            weights = head.mixed(features, targets, config.regularisation, config.mixing)
            loss = F.cross_entropy(features @ (head.scale * weights), targets)
            adam.step(head.learn(loss, weights, network))
        if not bool(head.weights.isfinite().all()):
            raise Diverged(f"lr: training a network with {config.lr} gave weights that are no numbers; lower it")
        with torch.no_grad():
            network.classifier.weight.copy_(head.weights[:-1].T)
            network.classifier.bias.copy_(head.weights[-1])

    def check(self, hints: Mapping[str, Tensor], examples: int, where: str) -> None:
        if self.config.learned_steps:
            check_steps(hints, where)


# --- for programs that know nothing of ddpipe -------------------------------------------------------------------------

NUMBERS = ("networks", "batch", "lr", "regularisation", "mixing", "scale_lr", "learned_steps")


def exported(protocol: settings.Regressed, flip: bool, hints: Mapping[str, Tensor]) -> dict[str, Any]:
    numbers = {key: getattr(protocol, key) for key in NUMBERS}
    return numbers | {"steps": steps(protocol, hints), "betas": BETAS, "eps": EPS}


def words(rules: dict[str, Any], factorised: bool) -> list[str]:
    return [
        f"{rules['steps']} steps, each on {rules['batch']} random examples drawn anew (all of a smaller set)."
        f"{' How many was learned with the set (`hint_steps`).' if rules['learned_steps'] else ''}",
        f"The last layer, its bias included, is not trained: it is {1 - rules['mixing']:g} times what it was, at first "
        f"zero, plus {rules['mixing']:g} times the ridge regression of `targets` on what enters it, penalty "
        f"{rules['regularisation']:g}; gradients pass through the latter.",
        f"Cross-entropy of the logits times a factor, at first one. Adam with betas {rules['betas'][0]:g} and "
        f"{rules['betas'][1]:g}, eps {rules['eps']:g}, learning rate {rules['lr']:g} for the network and "
        f"{rules['scale_lr']:g} for the factor, which is left away in the end.",
        *([styles.WORDS] if factorised else []),
    ]
