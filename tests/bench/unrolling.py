"""One gradient of trajectory matching in a process of its own: `python -m tests.bench.unrolling exact 20 128`.

Prints processor seconds, the least of a few, and peak memory in MB above that of the process before.
"""

import sys
import time

import torch
from torch import Tensor

from ddpipe import networks, settings
from ddpipe.objectives.trajectory import TrajectoryMatching
from ddpipe.randomness import generator
from ddpipe.synthetic import Batch
from tests.bench.memory import peak_mb
from tests.reference.trajectory import mtt_loss_and_gradient

IMAGES = 10  # a step: CIFAR-10 at one image per class


def scene(how: str, steps: int, width: int, compiled: bool = False) -> TrajectoryMatching:
    """The objective alone: a student, its segment and its batches are made by `gradient_of`."""
    config = settings.objectives.trajectory.TrajectoryMatching(name="trajectory", steps=steps, gradient=how)  # type: ignore[arg-type]
    objective = TrajectoryMatching(config)
    objective.compiled = compiled
    return objective


def student(width: int, rng: torch.Generator) -> tuple[networks.Classifier, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A network of digits' size or CIFAR-10's, its weights, where it shall arrive, and images to learn."""
    side, channels, depth = (8, 1, 2) if width < 32 else (32, 3, 3)
    network = networks.create(
        settings.ConvNet(kind="convnet", depth=depth, width=width), channels, side, IMAGES, generator("network")
    )
    start = torch.cat([p.detach().flatten() for p in network.parameters()])
    target = start + 0.01 * torch.randn(len(start), generator=rng)
    images = torch.randn(IMAGES, channels, side, side, generator=rng, requires_grad=True)
    return network, start, target, images


def gradient_of(objective: TrajectoryMatching, width: int):
    """A function without arguments that computes the loss and all its gradients once."""
    rng = generator("unrolling")
    network, start, target, images = student(width, rng)
    batches = [Batch(images * 1.0, torch.eye(IMAGES)) for _ in range(objective.config.steps)]
    gradient = objective.gradient(network)

    def once() -> None:
        objective.match(gradient, start, target, batches)

    return once


def official_of(steps: int, width: int):
    """Two functions, ours and the official computation's straight-line version, for loss and gradients by the set."""
    rng = generator("unrolling")
    network, start, target, images = student(width, rng)
    labels, rows = torch.arange(IMAGES), [torch.randperm(IMAGES, generator=rng) for _ in range(steps)]
    objective, hot = scene("exact", steps, width), torch.eye(IMAGES)
    gradient, lr = objective.gradient(network), objective.lr.detach()

    def ours() -> tuple[Tensor, ...]:
        loss = objective.match(gradient, start, target, [Batch(images[index], hot[index]) for index in rows])
        return loss.value, *loss.gradients([images, objective.lr])

    def official() -> tuple[Tensor, ...]:
        draws = [None] * steps
        return mtt_loss_and_gradient(network, start, target, images, labels, lr, rows, lambda x, _: (x,), draws)

    return ours, official


def main(how: str, steps: str, width: str, repeats: str) -> None:
    torch.set_num_threads(1)
    once = gradient_of(scene(how, int(steps), int(width)), int(width))
    before, seconds = peak_mb(), []
    for _ in range(int(repeats)):
        began = time.process_time()
        once()
        seconds.append(time.process_time() - began)
    print(min(seconds), peak_mb() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
