"""Networks that begin as experts did early: Acc-DD (Zhang et al., CVPR 2023), the survey's "initialisation
augmentation" (section 8.2). Few of them, trained for few epochs, serve when each is moved a little at random."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ddpipe.experts.buffer import Buffer
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.sending import sent_as
from ddpipe.settings.students.trained import Snapshot


def filter_normalised(direction: Tensor, weight: Tensor) -> Tensor:
    """`direction` with each row along the first axis as long as the weight's: a filter, or a neuron's weights.

    Zero for one-dimensional weights. The 1e-10 beside the direction's length is the official code's.
    """
    if weight.dim() < 2:
        return torch.zeros_like(weight)
    lengths, wanted = (torch.linalg.vector_norm(x.flatten(1), dim=1) for x in (direction, weight))  # (rows,)
    return direction * (wanted / (lengths + 1e-10)).view(-1, *[1] * (weight.dim() - 1))


def perturbed(
    weights: Sequence[Tensor], directions: Sequence[Sequence[Tensor]], steps: Sequence[float]
) -> list[Tensor]:
    """The weights moved by each of `steps` along its direction, filter-normalised; directions are like the weights."""
    moved = [weight.clone() for weight in weights]
    for direction, step in zip(directions, steps, strict=True):
        for new, old, own in zip(moved, weights, direction, strict=True):
            new.add_(filter_normalised(own, old), alpha=step)
    return moved


@torch.no_grad()
def begin_(network: Classifier, config: Snapshot, buffer: Buffer, rng: Streams) -> Classifier:
    """Give `network`, whose buffers are those of a new one, a snapshot's weights, moved as `config` says."""
    draw, (first, last), weights = rng("students.start"), config.epochs, list(network.parameters())
    expert = int(torch.randint(len(buffer), (), generator=draw))
    snapshot = buffer.snapshot(expert, int(torch.randint(first, last + 1, (), generator=draw)))
    for weight, own in zip(weights, snapshot.split([weight.numel() for weight in weights]), strict=True):
        weight.copy_(own.view_as(weight))
    if config.perturbed is None:
        return network
    directions = [[sent_as(torch.randn(w.shape, generator=draw), w) for w in weights] for _ in range(2)]
    signs = torch.randint(2, (2,), generator=draw) * 2 - 1
    lengths = torch.empty(2).uniform_(*config.perturbed, generator=draw)
    for weight, new in zip(weights, perturbed(weights, directions, (signs * lengths).tolist()), strict=True):
        weight.copy_(new)
    return network
