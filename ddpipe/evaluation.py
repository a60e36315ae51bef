"""Accuracy of networks trained from scratch on a small set: the measure of every table of the survey.

The last iterate counts: nothing is chosen on the test set, which is looked at once a network, after its last pass.
"""

from collections.abc import Callable

import torch

from ddpipe import augment, networks, settings
from ddpipe.datasets.resident import Resident
from ddpipe.randomness import Streams
from ddpipe.training import Fetch, accuracy, train


def evaluate_network(
    config: settings.Network,
    protocol: settings.Protocol,
    fetch: Fetch,
    n: int,
    test: Resident,
    num_classes: int,
    flip: bool,
    rng: Streams,
    passed: Callable[[], None] = lambda: None,
) -> float:
    """Train one new network on the n examples that `fetch` gives and return its test accuracy in percent.

    Args:
        flip: False where a mirrored image is another class.
        passed: called after every pass over the set, for progress.
    """
    channels, resolution = test.batch(torch.zeros(1, dtype=torch.int64)).shape[1:3]
    device = test.labels.device
    network = networks.create(config, channels, resolution, num_classes, rng("init"), device)
    for _ in train(network, protocol, fetch, n, augment.make(protocol.augment, flip), rng("train")):
        passed()
    return accuracy(network, test.batch, test.labels)


def mean_and_std(accuracies: list[list[float]]) -> tuple[float, float]:
    """Mean and population standard deviation (divided by n) over all networks of all sets, as the papers report."""
    flat = torch.tensor([value for row in accuracies for value in row], dtype=torch.float64)
    return float(flat.mean()), float(flat.std(correction=0))
