"""What training one network keeps in memory, counted rather than guessed."""

import torch
from torch import nn

from ddpipe.training.batch import Batch
from ddpipe.training.kept import saving
from ddpipe.training.loop import Loss

TRIED = (2, 4)  # images; the difference is what an image costs


def training_bytes(network: nn.Module, loss: Loss, example: Batch, batch: int) -> int:
    """Bytes for weights, gradients, momentum and moves of `network`, and for what a batch of `batch` images leaves.

    The latter is what the forward pass of `loss` saves for the backward pass, counted on a few images like those of
    `example`. The temporaries of single kernels are not in it. The network's buffers change.
    """
    few, more = (saved_bytes(network, loss, example, count) for count in TRIED)
    each = (more - few) // (TRIED[1] - TRIED[0])
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    return 4 * weights + few + each * (batch - TRIED[0])


def saved_bytes(network: nn.Module, loss: Loss, example: Batch, count: int) -> int:
    """Bytes that `loss` on `count` images saves for its backward pass, the network's weights not counted."""
    rows = torch.arange(count) % len(example.images)
    with saving(network.parameters()) as saved:
        loss(example.images[rows], example.targets[rows])
    return saved.bytes
