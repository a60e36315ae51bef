"""What an iteration sees whose student goes on learning from the set: a few of its examples, and a real batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ddpipe.augmentation import Policy
from ddpipe.datasets.passes import Passes
from ddpipe.objectives.loss import Loss
from ddpipe.randomness import Streams
from ddpipe.synthetic import Batch, Synthetic


class Glimpse(NamedTuple):
    """The examples at `rows` of the set, with the graph of what is learned and cut off from it, and a real batch.

    All images are augmented by one draw.
    """

    rows: Tensor  # (n,)
    decoded: Batch  # n examples
    shown: Batch  # the same as leaves, which require a gradient where something behind them is learned
    images: Tensor  # (r, c, h, w)
    labels: Tensor  # (r,)

    @property
    def moves(self) -> bool:
        """Whether anything is learned behind what is shown."""
        return any(leaf.requires_grad for leaf in self.shown)

    def loss(self, value: Tensor, outputs: Sequence[Tensor], pulls: Sequence[Tensor]) -> Loss:
        """The loss `value`, (), with its gradient taken up to what was decoded; the graph behind it is kept.

        Args:
            outputs: what it depends on, with the graph of what is shown; pulls: its derivatives by them.
        """
        inputs = [(whole, leaf) for whole, leaf in zip(self.decoded, self.shown, strict=True) if leaf.requires_grad]
        wholes, leaves = [whole for whole, _ in inputs], [leaf for _, leaf in inputs]
        gradients = torch.autograd.grad(outputs, leaves, pulls, retain_graph=True) if leaves else ()
        return Loss(value.detach(), wholes, gradients)


def glimpse(synthetic: Synthetic, subset: int, passes: Passes, augment: Policy, rng: Streams) -> Glimpse:
    """`subset` random examples of the set (all of a smaller one) and the next real batch."""
    rows = torch.randperm(len(synthetic), generator=rng("synthetic.batches"))[:subset]
    images, targets = synthetic.decode(rows)
    theirs, labels = passes.next(rng("real"))
    draw = augment.draw(rng("augment"), 1, *images.shape[-2:])
    decoded = Batch(augment(images, draw), targets)
    shown = Batch(*(part.detach().requires_grad_(part.requires_grad) for part in decoded))
    return Glimpse(rows, decoded, shown, augment(theirs, draw), labels)


def percent_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """(): how many of the r labels are not where the logits (r, K) are largest."""
    return 100 * (logits.argmax(1) != labels).float().mean()
