"""Accuracy of networks that come to know a small set: all that a stage asks for.

The last iterate counts: nothing is chosen on the test set, which is looked at once a network, when it is ready.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ddpipe import networks, settings
from ddpipe.datasets.resident import Resident
from ddpipe.device import describe
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.memory import training_bytes
from ddpipe.evaluation.rule import Rule, make
from ddpipe.meter import Meter
from ddpipe.networks import Classifier
from ddpipe.progress import say
from ddpipe.randomness import Streams
from ddpipe.training.loop import Diverged, accuracy
from ddpipe.training.together import fastest, offered

TRIED = 8  # steps of a trial of how many networks at once are fastest, after as many in which a device warms up
SHARE = 0.7  # of the free memory; the rest is for the temporaries of single kernels and the allocator's gaps


class Score(NamedTuple):
    """How one network does on the test part, in percent."""

    accuracy: float
    per_class: tuple[float | None, ...]  # of the images of each class; None where the test part has none


class Examination:
    """Networks of one architecture, made to know small sets by the rule of one protocol, and tested.

    The module is reused from network to network: only its weights are new, and it is compiled once.

    Args:
        flip: False where a mirrored image is another class.
        compiled: let torch.compile join what it can of the forward pass, the loss and the backward pass.
    """

    def __init__(
        self,
        architecture: settings.Network,
        protocol: settings.Protocol,
        test: Resident,
        num_classes: int,
        flip: bool,
        compiled: bool = False,
    ):
        channels, resolution = test.batch(torch.zeros(1, dtype=torch.int64)).shape[1:3]
        self.protocol, self.test, self.num_classes, self.compiled = protocol, test, num_classes, compiled
        self.rule, self.device = make(protocol, flip), test.labels.device
        self.network = networks.build(architecture, channels, resolution, num_classes, self.device)
        self.tried: dict[int, int] = {}  # images in a step -> how many networks at once were fastest
        self.gather(1)

    def gather(self, size: int) -> None:
        """From now on `size` networks are made at once."""
        self.group = self.rule.gather(self.network, size)
        if self.compiled:
            self.group.loss = torch.compile(self.group.loss, dynamic=False)

    def scores(
        self, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> list[Score]:
        """How new networks made at once do, one for each of `streams`; see `Rule.fit`."""
        if len(streams) != self.group.size:
            self.gather(len(streams))
        members = self.rule.fit(self.group, data, streams, passed)
        return [score(network, self.test, self.num_classes) for network in members]

    def accuracies(
        self, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> list[float]:
        """The accuracies of `scores` alone."""
        return [each.accuracy for each in self.scores(data, streams, passed)]

    def at_once(self, run: settings.Run, data: TrainingSet, free: int | None) -> int:
        """How many networks had better be made at once on sets like `data`: of those that fit, as many as are fastest.

        Args:
            free: bytes of the device's own memory. None on a CPU: there only the narrowest networks gain by company, so
                they are trained one by one unless run.together says otherwise.
        """
        if run.together:
            return min(run.together, self.protocol.networks)
        images = self.rule.images(data)
        if free is None or not images:
            return 1
        single, example = self.rule.gather(self.network.train(), 1), data.fetch(slice(0, 1))
        each = training_bytes(self.network, single.loss, example, images)
        most = max(1, min(self.protocol.networks, int(SHARE * free) // each))
        trial = self.rule.brief(2 * TRIED)
        if trial is None or most == 1 or self.compiled:  # compiling for every number would take minutes
            return most
        if images not in self.tried:  # the sets of a cell are alike
            size = fastest(lambda size: self.seconds(trial, data, size), most)
            say(f"of {offered(most)} networks at once, {size} take the least time each on {describe(self.device)}")
            self.tried[images] = size
        return min(self.tried[images], most)

    def seconds(self, trial: Rule, data: TrainingSet, size: int) -> float:
        """How long `size` networks take for the last steps of `trial`."""
        self.gather(size)
        meter, ticks, began = Meter(self.device), 0, 0.0

        def passed() -> None:
            nonlocal ticks, began
            ticks += 1
            if ticks == size * TRIED:
                began = meter.seconds()

        with contextlib.suppress(Diverged):  # what that means is told of the networks that count
            for _ in trial.fit(self.group, data, [Streams("trial", number) for number in range(size)], passed):
                pass
        return meter.seconds() - began


def score(network: Classifier, test: Resident, num_classes: int) -> Score:
    """How `network` does on the images of `test`, which it sees once."""
    answers: list[Tensor] = []
    # noted beside `accuracy`, so that there is one way from images to answers
    hook = network.register_forward_hook(lambda module, images, logits: answers.append(logits.argmax(1)))
    try:
        percent = accuracy(network, test.batch, test.labels)
    finally:
        hook.remove()
    labels = test.labels.cpu()
    right = torch.cat(answers).cpu() == labels
    shown = labels.bincount(minlength=num_classes).tolist()
    known = labels[right].bincount(minlength=num_classes).tolist()
    return Score(percent, tuple(100 * k / n if n else None for k, n in zip(known, shown, strict=True)))


def balanced(per_class: Sequence[float | None]) -> float:
    """The mean of the accuracies of the classes that the test part shows."""
    shown = [value for value in per_class if value is not None]
    return sum(shown) / len(shown)


def class_means(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    """The mean accuracy of each class over networks, of which `rows` has one each."""
    return [None if None in column else sum(column) / len(column) for column in zip(*rows, strict=True)]


def mean_and_std(accuracies: list[list[float]]) -> tuple[float, float]:
    """Mean and population standard deviation (divided by n) over all networks of all sets, as the papers report."""
    flat = torch.tensor([value for row in accuracies for value in row], dtype=torch.float64)
    return float(flat.mean()), float(flat.std(correction=0))
