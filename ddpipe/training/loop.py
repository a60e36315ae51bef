"""Training on a fixed set: evaluation, experts and students all do it here.

The DC family's loop (DC, DSA, DM, MTT) has two quirks that its published numbers contain, so they are settings: it runs
one pass more than it says, and it drops the learning rate by building a new optimiser, which forgets the momentum.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ddpipe import settings
from ddpipe.augmentation import Policy, cutmix
from ddpipe.errors import UserError
from ddpipe.memory import images_at_once
from ddpipe.training import optimizers, schedules
from ddpipe.training.batch import Batch
from ddpipe.training.captured import Captured, captured
from ddpipe.training.clipping import Each, alone
from ddpipe.training.criteria import CRITERIA
from ddpipe.training.optimizers import Optimizer
from ddpipe.training.precision import autocast, rounding

Fetch = Callable[[Tensor | slice], Batch]  # row numbers -> images and targets on the device
Loss = Callable[[Tensor, Tensor], Tensor]  # images (n, c, h, w), targets (n, K) -> ()


class Diverged(UserError):
    """The loss is no longer a number; the sentence begins with the key of the learning rate."""


def batches(
    fetch: Fetch, n: int, batch: int, augment: Policy, rng: torch.Generator, mixing: float = 0.0
) -> Iterator[Batch]:
    """The batches of one pass over n examples in a new order, augmented, and mixed by CutMix with probability `mixing`.

    A set that fits into one batch is taken in its own order: shuffling could not change the step. The augmentation
    draws what it draws for a batch, with parameters for each image.
    """
    parts = [slice(0, n)] if n <= batch else torch.randperm(n, generator=rng).split(batch)
    for part in parts:
        images, targets = fetch(part)
        images = augment(images, augment.draw(rng, len(images), *images.shape[-2:]))
        if mixing and float(torch.rand((), generator=rng)) < mixing:
            images, targets = cutmix.mix(images, targets, cutmix.draw(rng, len(images), *images.shape[-2:]))
        yield Batch(images, targets)


def loss_of(network: nn.Module, precision: str = "float32", criterion: settings.Criterion = "cross-entropy") -> Loss:
    """What `network` gives held against targets by `criterion`, its forward pass in `precision`."""
    measure = CRITERIA[criterion]

    def loss(images: Tensor, targets: Tensor) -> Tensor:
        with autocast(precision, images.device):
            logits = network(images)
        return measure(logits.to(targets.dtype), targets)

    return loss


Direction = Callable[[Loss, Sequence[Tensor], Batch], tuple[Tensor, Sequence[Tensor]]]  # the loss, and where to step


def steepest(loss: Loss, parameters: Sequence[Tensor], batch: Batch) -> tuple[Tensor, Sequence[Tensor]]:
    """The loss, (), and its gradient by the parameters."""
    value = loss(*batch)
    return value.detach(), torch.autograd.grad(value, parameters)


class Descent:
    """Steps of an optimiser down a loss, one a batch; on a CUDA device each is one launch (captured.py).

    Args:
        precision: in which the whole step may be rounded, where the loss does not see to it.
        direction: in which to step.
        beside: another one, which lives as long and steps by turns with this: captured steps share their memory.
    """

    def __init__(
        self,
        loss: Loss,
        optimizer: Optimizer,
        precision: str = "float32",
        direction: Direction = steepest,
        beside: "Descent | None" = None,
    ):
        self.optimizer = optimizer

        def step(images: Tensor, targets: Tensor) -> Tensor:
            with rounding(precision, images.device):
                value, move = direction(loss, optimizer.parameters, Batch(images, targets))
            optimizer.step(move)
            return value

        self.step: Captured = captured(step, optimizer, None if beside is None else beside.step)

    def follow(self, feed: Iterable[Batch]) -> Tensor:
        """A step on each batch; the last one's loss, (), which is valid until the next step."""
        for batch in feed:
            value = self.step(*batch)
        return value


def pass_over(descent: Descent, fetch: Fetch, n: int, batch: int, augment: Policy, rng: torch.Generator) -> Tensor:
    """One pass over n examples (see `batches`); returns the last batch's loss, ()."""
    return descent.follow(batches(fetch, n, batch, augment, rng))


def passes(config: settings.Training) -> int:
    """How often the training set is gone through."""
    return config.epochs + config.extra_epoch


def rate(config: settings.Training, number: int) -> float:
    """The learning rate of pass `number`, counted from 0."""
    return schedules.rate(config, number, config.epochs)


def set_rate(optimizer: Optimizer, config: settings.Training, number: int) -> None:
    """Give `optimizer` the learning rate of pass `number`; where it has just dropped, momentum may be forgotten.

    Depends on `number` alone, so that a resumed run does what an unbroken one would.
    """
    optimizer.lr = rate(config, number)
    if config.resets and number and optimizer.lr != rate(config, number - 1):
        optimizer.forget()


def descend(
    parameters: Iterable[Tensor],
    loss: Loss,
    config: settings.Training,
    feed: Callable[[], Iterable[Batch]],
    each: Each = alone,
) -> Iterator[int]:
    """Train `parameters` in place, yielding the number of each finished pass.

    Args:
        feed: gives the batches of a new pass.
        each: of the networks whose parameters they are, as `Stack.each`.

    Raises:
        Diverged: when the loss of the last pass is not a number.
    """
    descent = Descent(loss, optimizers.make(config, parameters, each), config.precision)
    for number in range(passes(config)):
        set_rate(descent.optimizer, config, number)
        last = descent.follow(feed())
        yield number
    if not math.isfinite(last):
        raise Diverged(f"lr: training a network with {config.lr} gave a loss that is not a number; lower it")


def train(
    network: nn.Module, config: settings.Training, fetch: Fetch, n: int, augment: Policy, rng: torch.Generator
) -> Iterator[int]:
    """Train `network` in place on the n examples that `fetch` gives, yielding the number of each finished pass.

    Raises:
        Diverged: when the loss is no longer a number.
    """

    def feed() -> Iterator[Batch]:
        return batches(fetch, n, config.batch, augment, rng, config.cutmix)

    network.train()
    yield from descend(network.parameters(), loss_of(network, config.precision), config, feed)


@torch.no_grad()
def accuracy(network: nn.Module, fetch: Callable[[Tensor], Tensor], labels: Tensor, batch: int = 0) -> float:
    """Percent of `labels` (N,) that the network, in evaluation mode, gives its highest logit.

    Args:
        batch: images at once; 0: as `images_at_once` says.
    """
    network.eval()
    index = torch.arange(len(labels))
    batch = batch or images_at_once(fetch(index[:1]).numel())
    parts = zip(index.split(batch), labels.split(batch), strict=True)
    right = sum((network(fetch(part)).argmax(1) == answers).sum() for part, answers in parts)
    return 100 * float(right) / len(labels)
