"""Networks trained on the real data: trajectories to imitate, and feature spaces for herding and K-Center.

Plain SGD, or FTD's steps towards flat minima (Du et al., CVPR 2023). A snapshot is all weights as one flat vector (P,)
in parameter order: one before training and one after every pass.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe import augmentation, networks, settings
from ddpipe.datasets.resident import Resident
from ddpipe.errors import UserError
from ddpipe.randomness import Streams
from ddpipe.sending import sent
from ddpipe.training import optimizers
from ddpipe.training.batch import Batch
from ddpipe.training.clipping import Each
from ddpipe.training.flatness import flat_gradient
from ddpipe.training.loop import Descent, Diverged, Fetch, Loss, batches, set_rate, steepest
from ddpipe.training.together import together


def real_batches(real: Resident, num_classes: int) -> Callable[[Tensor | slice], Batch]:
    """Real images with one-hot targets, by row number."""

    def fetch(index: Tensor | slice) -> Batch:
        rows = torch.arange(index.start, index.stop) if isinstance(index, slice) else index
        rows = sent(rows, real.labels.device)
        images = real.batch(rows)
        return Batch(images, F.one_hot(real.labels[rows], num_classes).to(images))

    return fetch


def flattest(
    loss: Loss, parameters: Sequence[Tensor], batch: Batch, flat: settings.Flat, each: Each
) -> tuple[Tensor, Sequence[Tensor]]:
    """The loss, (), of the perturbed weights, and FTD's direction from two gradients on the same batch."""
    values: list[Tensor] = []

    def here() -> Sequence[Tensor]:
        value, gradient = steepest(loss, parameters, batch)
        values.append(value)
        return gradient

    move = flat_gradient(parameters, here, flat.rho, flat.alpha, flat.adaptive, each)
    return values[-1], move


class Cohort:
    """Networks on their way along the real data, trained at once; between two passes their state is complete.

    Each sees batches of its own and learns what it would learn alone, up to rounding.

    Args:
        network: the architecture; its tensors are overwritten.
        fetch: the n real examples by row number.
        flip: False where a mirrored image is another class.
        rngs: of each network: "init" for its weights, "train" for order, augmentation and mixing of its batches.
    """

    def __init__(
        self,
        config: settings.Experts,
        network: networks.Classifier,
        fetch: Fetch,
        n: int,
        flip: bool,
        rngs: Sequence[Streams],
    ):
        self.config, self.fetch, self.n, self.rngs = config, fetch, n, rngs
        self.policy = augmentation.make(config.augment, flip)
        self.group = together(network.train(), len(rngs), config.precision)
        self.group.initialise_([rng("init") for rng in rngs])
        self.optimizer = optimizers.make(config, self.group.parameters(), self.group.each)
        way = steepest if config.flat is None else partial(flattest, flat=config.flat, each=self.group.each)
        self.descent = Descent(self.group.loss, self.optimizer, config.precision, way)
        self.passes = 0  # finished ones

    def advance(self) -> None:
        """One pass over the real data.

        Raises:
            Diverged: when the loss of its last batch is not a number.
        """
        config = self.config
        set_rate(self.optimizer, config, self.passes)
        feeds = [
            batches(self.fetch, self.n, config.batch, self.policy, rng("train"), config.cutmix) for rng in self.rngs
        ]
        if not math.isfinite(self.descent.follow(self.group.join(feeds))):
            raise Diverged(f"lr: training a network with {config.lr} gave a loss that is not a number; lower it")
        self.passes += 1

    def snapshots(self) -> Tensor:
        """(T, P) copy of the weights on the CPU, never an alias of the live ones."""
        return torch.cat([self.rows(p.detach()) for p in self.optimizer.parameters], 1).cpu()

    def rows(self, tensor: Tensor) -> Tensor:
        """(T, ...) of a group, or (...) of a single network, as (T, .), not a copy; one number for all as (1, 1)."""
        return tensor.view(self.group.size if tensor.dim() else 1, -1)

    def parts(self) -> dict[str, Tensor]:
        """name -> (T, .) of all that training changes but the generators, not copies."""
        named = {f"network/{name}": tensor for name, tensor in self.group.tensors().items()}
        named |= {f"optimizer/{name}": tensor for name, tensor in self.optimizer.state_dict().items()}
        return {name: self.rows(tensor) for name, tensor in named.items()}

    def state_dict(self) -> dict[str, Tensor]:
        state = {"iteration": torch.tensor(self.passes)} | self.parts()
        for number, rng in enumerate(self.rngs):
            state |= {f"rng/{number}/{purpose}": value for purpose, value in rng.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.passes = int(state["iteration"])
        for name, part in self.parts().items():
            part.copy_(state[name])
        for number, rng in enumerate(self.rngs):
            start = f"rng/{number}/"
            rng.load_state_dict({name.removeprefix(start): v for name, v in state.items() if name.startswith(start)})


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
