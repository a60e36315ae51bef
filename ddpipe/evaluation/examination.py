"""Accuracy of networks that come to know a small set: all that a stage asks for.

The last iterate counts: nothing is chosen on the test set, which is looked at once a network, when it is ready.
"""

from collections.abc import Callable, Sequence

import torch

from ddpipe import networks, settings
from ddpipe.datasets.resident import Resident
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.memory import training_bytes
from ddpipe.evaluation.rule import make
from ddpipe.randomness import Streams
from ddpipe.training.loop import accuracy

SHARE = 0.7  # of the free memory; the rest is for the temporaries of single kernels and the allocator's gaps


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
        self.protocol, self.test, self.compiled = protocol, test, compiled
        self.rule = make(protocol, flip)
        self.network = networks.build(architecture, channels, resolution, num_classes, test.labels.device)
        self.gather(1)

    def gather(self, size: int) -> None:
        """From now on `size` networks are made at once."""
        self.group = self.rule.gather(self.network, size)
        if self.compiled:
            self.group.loss = torch.compile(self.group.loss, dynamic=False)

    def accuracies(
        self, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> list[float]:
        """Test accuracies in percent of new networks made at once, one for each of `streams`; see `Rule.fit`."""
        if len(streams) != self.group.size:
            self.gather(len(streams))
        members = self.rule.fit(self.group, data, streams, passed)
        return [accuracy(network, self.test.batch, self.test.labels) for network in members]

    def at_once(self, run: settings.Run, data: TrainingSet, free: int | None) -> int:
        """How many networks had better be made at once on sets like `data`.

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
        return max(1, min(self.protocol.networks, int(SHARE * free) // each))


def mean_and_std(accuracies: list[list[float]]) -> tuple[float, float]:
    """Mean and population standard deviation (divided by n) over all networks of all sets, as the papers report."""
    flat = torch.tensor([value for row in accuracies for value in row], dtype=torch.float64)
    return float(flat.mean()), float(flat.std(correction=0))
