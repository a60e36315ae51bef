"""One gradient of unrolled training in a process of its own: `python -m tests.bench.long_unroll exact 150 2`.

Prints processor seconds, and peak memory in MB above that of the process before.
"""

import sys
import time
from collections.abc import Callable

import torch

from ddpipe import networks, settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.objectives.unroll import Unroll
from ddpipe.randomness import generator
from ddpipe.settings.labels import Labels
from ddpipe.synthetic import Batch
from ddpipe.synthetic.memory import Memory
from tests.bench.memory import peak_mb

WIDTH, SIDE, CHANNELS, CLASSES, ADDRESSES = 128, 32, 3, 10, 115


def gradient_of(how: str, steps: int, images: int) -> Callable[[], None]:
    """A function that computes RTP's loss and its gradient up to bases and addresses, with `images` a step."""
    config = settings.objectives.unroll.Unroll(name="unroll", steps=steps, examples=1, momentum=0.9, gradient=how)  # type: ignore[arg-type]
    objective = Unroll(config, real=None, real_batch=0, varied=Augment("none"))  # type: ignore[arg-type]
    rng = generator("long unroll")
    network = networks.create(
        settings.ConvNet(kind="convnet", depth=3, width=WIDTH), CHANNELS, SIDE, CLASSES, generator("network")
    )
    start = torch.cat([p.detach().flatten() for p in network.parameters()])
    bases = torch.randn(16, CHANNELS, SIDE // 2, SIDE // 2, generator=rng)
    addresses = torch.randn(CLASSES * ADDRESSES, 16, generator=rng)
    synthetic = Memory(bases, addresses, 2, CLASSES)
    synthetic.label_(Labels())
    rows = [torch.randint(CLASSES * ADDRESSES, (images,), generator=rng) for _ in range(steps)]
    real = Batch(torch.randn(CLASSES, CHANNELS, SIDE, SIDE, generator=rng), torch.arange(CLASSES))
    gradient, learned = objective.gradient(network), list(synthetic.parameters())

    def once() -> None:
        objective.match(gradient, start, synthetic.decode(), rows, {steps: real}).gradients(learned)

    return once


def main(how: str, steps: str, images: str) -> None:
    torch.set_num_threads(1)
    once = gradient_of(how, int(steps), int(images))
    before, began = peak_mb(), time.process_time()
    once()
    print(time.process_time() - began, peak_mb() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
