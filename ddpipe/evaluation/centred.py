"""Centred networks trained on the set: the evaluation of RFAD (Loo et al., NeurIPS 2022) by finite networks.

What a network predicts is f(x) - f_0(x), where f_0 is itself before training: so it begins with nothing but its kernel.
SGD with a constant step size descends in the mean of (f - f_0 - a y)^2 over examples and classes, divided by a^2, with
a label scale a, plus `pull` times the squared distance from the first weights. Of the networks on the way the one is
kept that does best on some real training images, and training ends early once none was better for a while.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from ddpipe import augmentation, settings
from ddpipe.evaluation import styles
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.rule import Rule
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.training.captured import captured
from ddpipe.training.loop import Diverged, accuracy, batches
from ddpipe.training.optimizers import Sgd
from ddpipe.training.together import Group


def make(protocol: settings.Centred, flip: bool) -> "Centred":
    return Centred(protocol)


class Centred(Rule):
    def __init__(self, config: settings.Centred):
        self.config, self.none = config, augmentation.make("none")

    def fit(
        self, group: Group, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> Iterator[Classifier]:
        group.initialise_([rng("init") for rng in streams])
        scores = data.scores()
        for network, rng in zip(group.members(), streams, strict=True):
            start = deepcopy(network).requires_grad_(False).eval()
            away = network.register_forward_hook(lambda _, given, found, start=start: found - start(given[0]))
            try:
                self.train(network, start, scores, rng)
                passed()
                yield network
            finally:
                away.remove()

    def train(self, network: Classifier, start: Classifier, data: TrainingSet, rng: Streams) -> None:
        """Train `network`, which gives what it says less what `start` does."""
        config = self.config
        parameters: list[Tensor] = list(network.parameters())
        real = data.validation(config.validation)
        optimizer = Sgd(parameters, config.lr, config.momentum)
        first: list[Tensor] = list(start.parameters())
        best, most, when = [p.detach().clone() for p in parameters], -1.0, 0
        feed = (batch for _ in iter(int, 1) for batch in self.passes(data, rng))

        def one(images: Tensor, targets: Tensor) -> Tensor:
            loss = (network(images) - config.label_scale * targets).square().mean() / config.label_scale**2
            slopes = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                apart = torch._foreach_sub(parameters, first)
                optimizer.step(torch._foreach_add(slopes, apart, alpha=2 * config.pull))
            return loss.detach()

        descend = captured(one, optimizer)
        for step in range(1, config.steps + 1):
            network.train()
            loss = descend(*next(feed))
            if step % config.every and step < config.steps:
                continue
            if not math.isfinite(loss):
                raise Diverged(f"lr: training a network with {config.lr} gave a loss that is not a number; lower it")
            found = accuracy(network, real.batch, real.labels)
            if found > most:
                most, when = found, step
                torch._foreach_copy_(best, [p.detach() for p in parameters])
            elif step - when >= config.patience:
                break
        with torch.no_grad():
            torch._foreach_copy_(parameters, best)

    def passes(self, data: TrainingSet, rng: Streams) -> Iterator[Any]:
        return batches(data.seen_by(rng), data.n, self.config.batch, self.none, rng("train"))


# --- for programs that know nothing of ddpipe -------------------------------------------------------------------------

NUMBERS = ("networks", "lr", "momentum", "label_scale", "pull", "batch", "steps", "validation", "every", "patience")


def exported(protocol: settings.Centred, flip: bool, hints: Mapping[str, Tensor]) -> dict[str, Any]:
    return {key: getattr(protocol, key) for key in NUMBERS}


def words(rules: dict[str, Any], factorised: bool) -> list[str]:
    return [
        "What a network predicts is what it says less what it said before training.",
        f"SGD with momentum {rules['momentum']:g} and learning rate {rules['lr']:g} on batches of {rules['batch']} "
        f"(all of a smaller set), no augmentation, at most {rules['steps']} steps.",
        f"The mean over examples and classes of the squared distance from {rules['label_scale']:g} times the scores "
        f"(`targets`, less 1 / K where they are distributions), divided by {rules['label_scale']:g} squared, plus "
        f"{rules['pull']:g} times the squared distance of all weights from what they were.",
        f"Every {rules['every']} steps the network is tried on real training images, {rules['validation']} of each "
        f"class; the best is kept, and {rules['patience']} steps without a better one end the training. The program "
        "takes them from validation.npz beside it, which holds `images` and `labels` as its TEST.npz does.",
        *([styles.WORDS] if factorised else []),
    ]
