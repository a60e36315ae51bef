"""Training one network on a fixed set: evaluation, experts and students all do it here.

The DC family's loop (DC, DSA, DM, MTT) has two quirks that its published numbers contain, so they are settings: it runs
one pass more than it says, and it drops the learning rate by building a new optimiser, which forgets the momentum.
"""

import contextlib
import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe import cutmix, settings
from ddpipe.augment import Policy
from ddpipe.errors import UserError
from ddpipe.sgd import Sgd
from ddpipe.synthetic.batch import Batch

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


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Convolutions and products are computed in `precision`; weights and what torch deems delicate stay float32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()


def loss_of(network: nn.Module, precision: str = "float32") -> Loss:
    """Mean cross-entropy of `network` against distributions over classes, its forward pass in `precision`."""

    def loss(images: Tensor, targets: Tensor) -> Tensor:
        with autocast(precision, images.device):
            logits = network(images)
        return F.cross_entropy(logits.to(targets.dtype), targets)

    return loss


def pass_over(
    network: nn.Module,
    optimizer: Sgd,
    fetch: Fetch,
    n: int,
    batch: int,
    augment: Policy,
    rng: torch.Generator,
) -> Tensor:
    """One pass over n examples with mean cross-entropy, in a new order; returns the last batch's loss, ().

    A set that fits into one batch is taken in its own order: shuffling could not change the step. The augmentation
    draws one operation a batch and its parameters for each image.
    """
    parts = [slice(0, n)] if n <= batch else torch.randperm(n, generator=rng).split(batch)
    for part in parts:
        images, targets = fetch(part)
        images = augment(images, augment.draw(rng, len(images), *images.shape[-2:]))
        loss = F.cross_entropy(network(images), targets)
        optimizer.step(torch.autograd.grad(loss, optimizer.parameters))
    return loss.detach()


def passes(config: settings.Training) -> int:
    """How often the training set is gone through."""
    return config.epochs + config.extra_epoch


def rate(config: settings.Training, number: int) -> float:
    """The learning rate of pass `number`, counted from 0.

    half: x 0.1 from pass epochs // 2 + 2 on (DC's code). staged: x 0.2 from pass 2 epochs // 3 on and again from
    pass 5 epochs // 6 on (IDC's code).
    """
    match config.drop:
        case "half":
            return config.lr if number <= config.epochs // 2 + 1 else 0.1 * config.lr
        case "staged":
            return config.lr * 0.2 ** sum(number >= part * config.epochs // 6 for part in (4, 5))
        case "never":
            return config.lr


def set_rate(optimizer: Sgd, config: settings.Training, number: int) -> None:
    """Give `optimizer` the learning rate of pass `number`; where it has just dropped, momentum may be forgotten.

    Depends on `number` alone, so that a resumed run does what an unbroken one would.
    """
    optimizer.lr = rate(config, number)
    if config.drop_resets_momentum and number and optimizer.lr != rate(config, number - 1):
        optimizer.forget()


def train(
    network: nn.Module, config: settings.Training, fetch: Fetch, n: int, augment: Policy, rng: torch.Generator
) -> Iterator[int]:
    """Train `network` in place, yielding the number of each finished pass.

    Raises:
        UserError: when the loss is no longer a number.
    """

    optimizer = Sgd(network.parameters(), config.lr, config.momentum, config.weight_decay)
    network.train()
    for number in range(passes(config)):
        loss = pass_over(network, optimizer, fetch, n, config.batch, augment, rng)
        if config.drop == "half" and number == config.epochs // 2 + 1:
            optimizer.lr = 0.1 * config.lr
            if config.drop_resets_momentum:
                optimizer.forget()
        yield number
    if not math.isfinite(loss):
        raise UserError(f"lr: training a network with {config.lr} gave a loss that is not a number; lower it")


@torch.no_grad()
def accuracy(network: nn.Module, fetch: Callable[[Tensor], Tensor], labels: Tensor, batch: int = 1024) -> float:
    """Percent of `labels` (N,) that the network, in evaluation mode, gives its highest logit."""
    network.eval()
    index = torch.arange(len(labels))
    right = sum((network(fetch(part)).argmax(1) == labels[part.to(labels.device)]).sum() for part in index.split(batch))
    return 100 * float(right) / len(labels)
