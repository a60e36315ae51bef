"""Networks trained on the real data: trajectories to imitate, and feature spaces for herding and K-Center.

Plain SGD, or FTD's steps towards flat minima (Du et al., CVPR 2023). A snapshot is all weights as one flat vector (P,)
in parameter order: one before training and one after every pass.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe import augment, networks, settings
from ddpipe.datasets.resident import Resident
from ddpipe.errors import UserError
from ddpipe.flat import flat_gradient
from ddpipe.randomness import Streams
from ddpipe.sgd import Sgd
from ddpipe.synthetic.batch import Batch
from ddpipe.training import Diverged, Fetch, batches, loss_of, set_rate


def real_batches(real: Resident, num_classes: int) -> Callable[[Tensor | slice], Batch]:
    """Real images with one-hot targets, by row number."""

    def fetch(index: Tensor | slice) -> Batch:
        rows = torch.arange(index.start, index.stop) if isinstance(index, slice) else index
        images = real.batch(rows)
        return Batch(images, F.one_hot(real.labels[rows.to(real.labels.device)], num_classes).to(images))

    return fetch


class Expert:
    """One network on its way along the real data; between two passes its state is complete.

    Args:
        network: its tensors are overwritten, with fresh weights from `rng("init")`.
        fetch: the n real examples by row number.
        flip: False where a mirrored image is another class.
        rng: order, augmentation and mixing of the batches come from `rng("train")`.
    """

    def __init__(
        self, config: settings.Experts, network: networks.Classifier, fetch: Fetch, n: int, flip: bool, rng: Streams
    ):
        self.config, self.fetch, self.n, self.rng = config, fetch, n, rng
        self.policy = augment.make(config.augment, flip)
        self.network = networks.initialise_(network.train(), rng("init"))
        self.loss = loss_of(network, config.precision)
        self.optimizer = Sgd(network.parameters(), config.lr, config.momentum, config.weight_decay)
        self.passes = 0  # finished ones

    def advance(self) -> None:
        """One pass over the real data.

        Raises:
            Diverged: when the loss of its last batch is not a number.
        """
        config = self.config
        set_rate(self.optimizer, config, self.passes)
        for batch in batches(self.fetch, self.n, config.batch, self.policy, self.rng("train"), config.cutmix):
            self.optimizer.step(self.gradient(batch))
        if not math.isfinite(self.value):
            raise Diverged(f"lr: training a network with {config.lr} gave a loss that is not a number; lower it")
        self.passes += 1

    def gradient(self, batch: Batch) -> list[Tensor]:
        """The direction of a step: the loss's gradient, or FTD's from two gradients on the same augmented batch."""
        parameters, flat = self.optimizer.parameters, self.config.flat

        def here() -> list[Tensor]:
            loss = self.loss(*batch)
            self.value = loss.detach()
            return list(torch.autograd.grad(loss, parameters))

        return here() if flat is None else flat_gradient(parameters, here, flat.rho, flat.alpha, flat.adaptive)

    def snapshot(self) -> Tensor:
        """(P,) copy of the weights on the CPU, never an alias of the live ones."""
        return torch.cat([p.detach().flatten() for p in self.optimizer.parameters]).cpu()

    def state_dict(self) -> dict[str, Tensor]:
        state = {"iteration": torch.tensor(self.passes)}
        for name, part in self.parts().items():
            state |= {f"{name}/{key}": value for key, value in part.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.passes = int(state["iteration"])
        for name, part in self.parts().items():
            own = {key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")}
            part.load_state_dict(own)

    def parts(self) -> dict:
        return {"network": self.network, "optimizer": self.optimizer, "rng": self.rng}


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
