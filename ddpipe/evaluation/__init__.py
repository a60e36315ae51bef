"""Accuracy of networks trained from scratch on a small set: the measure of every table of the survey.

The last iterate counts: nothing is chosen on the test set, which is looked at once a network, after its last pass.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from ddpipe import augmentation, networks, settings
from ddpipe.datasets.resident import Resident
from ddpipe.distilled.styles import Styles
from ddpipe.evaluation.memory import training_bytes
from ddpipe.randomness import Streams
from ddpipe.training.batch import Batch
from ddpipe.training.loop import Fetch, Loss, accuracy, batches, descend
from ddpipe.training.together import together

__all__ = ["Examination", "TrainingSet", "mean_and_std"]

SHARE = 0.7  # of the free memory; the rest is for the temporaries of single kernels and the allocator's gaps


class TrainingSet(NamedTuple):
    """What the networks are trained on."""

    fetch: Fetch
    n: int  # how many examples a pass sees
    lr: float | None = None  # the step size that was learned with the set; `learned_lr` protocols need it
    styles: Styles | None = None  # of a factorised set: a pass sees each of the n bases in one of them

    def seen_by(self, rng: Streams) -> Fetch:
        """Example numbers -> images and targets, as the network with the streams `rng` sees them in a pass."""
        return self.fetch if self.styles is None else self.styles.over(self.fetch, rng("styles"))


class Examination:
    """Trains networks of one architecture on small sets under one protocol, and tests them.

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
        self.protocol, self.test, self.compiled = protocol, test, compiled
        self.policy = augmentation.make(protocol.augment, flip)
        self.network = networks.build(architecture, channels, resolution, num_classes, test.labels.device)
        self.gather(1)

    def gather(self, size: int) -> None:
        """From now on `size` networks are trained at once."""
        self.group = together(self.network, size, self.protocol.precision)
        self.loss: Loss = torch.compile(self.group.loss, dynamic=False) if self.compiled else self.group.loss

    def accuracies(
        self, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> list[float]:
        """Test accuracies in percent of new networks trained at once, one for each of `streams`.

        Args:
            streams: the random numbers of each network: "init" for its weights, "train" for order and augmentation.
            passed: called for every network after every pass over the set, for progress.

        Raises:
            Diverged: when a loss is no longer a number.
        """
        config = self.protocol
        if config.learned_lr:
            config = config.model_copy(update={"lr": data.lr})

        def feed() -> Iterator[Batch]:
            return self.group.join(
                [
                    batches(data.seen_by(rng), data.n, config.batch, self.policy, rng("train"), config.cutmix)
                    for rng in streams
                ]
            )

        if len(streams) != self.group.size:
            self.gather(len(streams))
        self.network.train()
        self.group.initialise_([rng("init") for rng in streams])
        for _ in descend(self.group.parameters(), self.loss, config, feed):
            for _ in streams:
                passed()
        return [accuracy(network, self.test.batch, self.test.labels) for network in self.group.members()]

    def at_once(self, run: settings.Run, data: TrainingSet, free: int | None) -> int:
        """How many networks had better be trained at once on sets like `data`.

        Args:
            free: bytes of the device's own memory. None on a CPU: there only the narrowest networks gain by company, so
                they are trained one by one unless run.together says otherwise.
        """
        if run.together:
            return min(run.together, self.protocol.networks)
        if free is None:
            return 1
        single, example = together(self.network.train(), 1, self.protocol.precision), data.fetch(slice(0, 1))
        each = training_bytes(self.network, single.loss, example, min(data.n, self.protocol.batch))
        return max(1, min(self.protocol.networks, int(SHARE * free) // each))


def mean_and_std(accuracies: list[list[float]]) -> tuple[float, float]:
    """Mean and population standard deviation (divided by n) over all networks of all sets, as the papers report."""
    flat = torch.tensor([value for row in accuracies for value in row], dtype=torch.float64)
    return float(flat.mean()), float(flat.std(correction=0))
