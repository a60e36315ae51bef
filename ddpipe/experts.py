"""Networks trained on the real data: trajectories to imitate, and feature spaces for herding and K-Center.

An expert is one flat vector of weights a snapshot: `snapshots` (S, P) in parameter order. `keep: all` holds the start
and every epoch, `keep: last` the end alone (S = 1). The JSON beside it names the parameters, so the file can be read
without the network's code.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe import augment, networks, settings
from ddpipe.datasets.resident import Resident
from ddpipe.errors import UserError
from ddpipe.randomness import Streams
from ddpipe.synthetic.batch import Batch
from ddpipe.training import train


def real_batches(real: Resident, num_classes: int) -> Callable[[Tensor | slice], Batch]:
    """Real images with one-hot targets, by row number."""

    def fetch(index: Tensor | slice) -> Batch:
        rows = torch.arange(index.start, index.stop) if isinstance(index, slice) else index
        images = real.batch(rows)
        return Batch(images, F.one_hot(real.labels[rows.to(real.labels.device)], num_classes).to(images))

    return fetch


def train_expert(
    config: settings.Experts,
    network: nn.Module,
    real: Resident,
    flip: bool,
    rng: Streams,
    passed: Callable[[], None] = lambda: None,
) -> Tensor:
    """Train `network` anew on the real data; returns its snapshots (S, P) in the buffer's dtype."""
    networks.initialise_(network, rng("init"))
    fetch = real_batches(real, len(real.class_index))
    policy = augment.make(config.augment, flip)
    snapshots = [flatten(network)]
    for _ in train(network, config, fetch, len(real.labels), policy, rng("train")):
        snapshots.append(flatten(network))
        passed()
    kept = snapshots if config.keep == "all" else snapshots[-1:]
    return torch.stack(kept).to(getattr(torch, config.dtype))


def flatten(network: nn.Module) -> Tensor:
    """(P,) float32 copy of all parameters, in order, on the CPU; never an alias of the live weights."""
    return torch.cat([p.detach().flatten() for p in network.parameters()]).to("cpu", torch.float32, copy=True)


def restore_(network: networks.Classifier, snapshot: Tensor) -> networks.Classifier:
    """Give `network` the weights of one snapshot (P,)."""
    sizes = [p.numel() for p in network.parameters()]
    if sum(sizes) != len(snapshot):
        raise UserError(
            f"experts: a snapshot has {len(snapshot)} weights, the network {sum(sizes)}; use the buffer's own network"
        )
    with torch.no_grad():
        for parameter, part in zip(network.parameters(), snapshot.split(sizes), strict=True):
            parameter.copy_(part.view_as(parameter))
    return network


@torch.no_grad()
def features(network: networks.Classifier, real: Resident, batch: int = 1024) -> Tensor:
    """(N, F) embeddings of all images, in evaluation mode, on the CPU."""
    network.eval()
    index = torch.arange(len(real.labels))
    return torch.cat([network.embed(real.batch(part)).cpu() for part in index.split(batch)])
