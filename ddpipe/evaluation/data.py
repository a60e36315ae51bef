"""A distilled or chosen set as the rules of evaluation see it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.evaluation.styles import Styles
from ddpipe.experts.training import real_batches
from ddpipe.files.hints import of as hints_of
from ddpipe.randomness import Streams, generator
from ddpipe.settings import Scale
from ddpipe.training.batch import Batch, rows_of
from ddpipe.training.loop import Fetch


@dataclass(frozen=True)
class TrainingSet:
    """What the networks are to know: n examples, and what was learned with them."""

    fetch: Fetch
    n: int  # how many examples a pass sees
    hints: Mapping[str, Tensor] = field(default_factory=dict)  # protocols may require some
    styles: Styles | None = None  # of a factorised set: a pass sees each of the n bases in one of them
    scale: Scale = "one-hot"  # of the targets
    real: Callable[[int], Resident] | None = None  # so many real training images of each class

    @classmethod
    def of(
        cls, tensors: Mapping[str, Tensor], scale: Scale, prepared: Prepared, device: torch.device | str = "cpu"
    ) -> "TrainingSet":
        """What the file of a set holds, made from `prepared`, on the device."""
        real = partial(part_of, prepared, device)
        if "rows" in tensors:
            rows = tensors["rows"]
            images, labels = prepared.train_images[rows], prepared.train_labels[rows]
            chosen = Resident(images, labels, prepared.preprocessing, device)
            return cls(real_batches(chosen, len(prepared.classes)), len(rows), real=real)
        images, targets = tensors["images"].to(device), tensors["targets"].to(device)
        styles = Styles(tensors["contents"]) if "contents" in tensors else None
        examples = len(images) if styles is None else len(styles)
        return cls(rows_of(Batch(images, targets)), examples, hints_of(tensors), styles, scale, real)

    def seen_by(self, rng: Streams) -> Fetch:
        """Example numbers -> images and targets, as the network with the streams `rng` sees them in a pass."""
        return self.fetch if self.styles is None else self.styles.over(self.fetch, rng("styles"))

    def scores(self) -> "TrainingSet":
        """The same with centred targets: what squared errors are taken from."""
        if self.scale == "centred":
            return self

        def centred(index: Tensor | slice) -> Batch:
            images, targets = self.fetch(index)
            return Batch(images, targets - 1 / targets.shape[1])

        return replace(self, fetch=centred, scale="centred")

    def validation(self, per_class: int) -> Resident:
        """So many real training images of each class (all of a smaller one): the same for all networks and sets."""
        assert self.real is not None, "stages give real images"
        return self.real(per_class)

    def hard(self) -> "TrainingSet":
        """The same with one-hot targets, of the class of the largest number of each."""

        def decided(index: Tensor | slice) -> Batch:
            images, targets = self.fetch(index)
            return Batch(images, F.one_hot(targets.argmax(1), targets.shape[1]).to(targets))

        return replace(self, fetch=decided, scale="one-hot")

    @property
    def size(self) -> int:
        """Examples in all their styles: `fetch` knows the numbers from 0 to here."""
        return self.n if self.styles is None else self.styles.rows.numel()


def part_of(prepared: Prepared, device: torch.device | str, per_class: int) -> Resident:
    """`per_class` random training images of each class; the same whenever it is asked."""
    draw, labels = generator("validation", prepared.checksum), prepared.train_labels
    classes = [(labels == label).nonzero().flatten() for label in range(len(prepared.classes))]
    rows = torch.cat([own[torch.randperm(len(own), generator=draw)[:per_class]] for own in classes])
    return Resident(prepared.train_images[rows], labels[rows], prepared.preprocessing, device)
