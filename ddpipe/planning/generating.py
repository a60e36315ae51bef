"""The call that times GTN's generator."""

import torch

from ddpipe import networks
from ddpipe.planning.calls import Bench, Call
from ddpipe.settings.work import Operation
from ddpipe.synthetic.generator import Generator, Network


def generated(bench: Bench, operation: Operation, n: int) -> Call:
    """A batch of GTN's generator, and the gradient back to it and its noise; the option has its sizes.

    As `decode` does it, twice: but its first call would take the time of what torch then imports for recomputing.
    """
    assert operation.shape is not None
    shape = operation.shape
    noise, hidden, *maps = map(int, operation.option.split(":"))
    network = Network(noise + shape.classes, hidden, (maps[0], maps[1]), shape.channels, shape.resolution)
    start = torch.randn(1, max(n, 2), noise, generator=bench.rng)  # one example has no statistics
    synthetic = Generator(networks.initialise_(network, bench.rng), start, shape.classes).to(bench.device)
    learned = list(synthetic.parameters())

    def call() -> None:
        with torch.no_grad():
            synthetic.generate(0)
        decoded = synthetic.generate(0)
        torch.autograd.grad(decoded, learned, torch.ones_like(decoded))

    return call
