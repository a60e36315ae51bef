"""What the loop, objectives and students ask of a parametrisation: V virtual examples behind addresses."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ddpipe.errors import UserError
from ddpipe.sending import sent, sent_together
from ddpipe.settings.labels import Labels
from ddpipe.training.batch import Batch, balanced, blocks, chunks


class Synthetic(nn.Module, ABC):
    """A set being learned, as addresses 0, ..., V - 1 of examples that lie class by class.

    Args:
        classes: (V,) class of each example, ascending.
        num_classes: K.
        like: what is learned; targets have its dtype, and all lies on its device.
        contents: (V,) the base behind each example, where a pass of training shall show each base in one style.
    """

    classes: Tensor
    targets: Tensor  # (V, K), one-hot at first
    contents: Tensor | None
    distributed = False

    def __init__(self, classes: Tensor, num_classes: int, like: Tensor, contents: Tensor | None = None):
        super().__init__()
        self.register_buffer("classes", classes.to(like.device))
        self.register_buffer("targets", F.one_hot(self.classes, num_classes).to(like))
        self.register_buffer("contents", contents if contents is None else contents.to(like.device))
        self.sizes: list[int] = torch.bincount(classes, minlength=num_classes).tolist()  # examples of each class

    def label_(self, labels: Labels) -> None:
        """Targets as a cell's `labels` say. Learned ones are a parameter (group `targets`), or its softmax."""
        classes = self.targets.shape[1]
        targets = self.targets if labels.init == "hard" else torch.full_like(self.targets, 1 / classes)
        targets = (targets - 1 / classes) * labels.factor if labels.scale == "centred" else targets
        del self.targets
        if labels.learned:
            self.targets = nn.Parameter(targets.clone())
        else:
            self.register_buffer("targets", targets)
        if labels.softmax:
            parametrize.register_parametrization(self, "targets", nn.Softmax(1))  # what is learned may lie anywhere
        # targets that must be kept distributions
        self.distributed = labels.learned and labels.scale == "one-hot" and not labels.softmax

    def __len__(self) -> int:
        """V."""
        return len(self.classes)

    @abstractmethod
    def decode(self, index: Tensor | None = None) -> Batch:
        """The examples at the addresses `index`, with the graph of what is learned; left out: all, in order."""

    def at(self, index: Tensor) -> Tensor:
        """The addresses `index`, where the set lies."""
        return sent(index, self.classes.device)

    def by_part(self, parts: Tensor, shown: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Images (n, c, h, w) of addresses whose parts (n,), on the host, make them: each part makes its own at once.

        Args:
            shown: a part, and which of the n are its own -> their images.
        """
        used = parts.unique().tolist()
        rows = [(parts == part).nonzero().flatten() for part in used]
        images = [shown(part, own) for part, own in zip(used, rows, strict=True)]
        return images[0] if len(used) == 1 else torch.cat(images)[self.at(torch.cat(rows).argsort())]

    def ready(self, addresses: Sequence[Tensor]) -> Sequence[Tensor]:
        """The addresses of some batches as `decode` takes them at once, brought where the set lies in one copy.

        Parametrisations that reckon with addresses leave them on the host.
        """
        return sent_together(addresses, self.classes.device)

    def batches(self, rng: torch.Generator, batch: int | None) -> Iterator[Tensor]:
        """Addresses for one student: the set in random order, `batch` at a time (None: all), without end."""
        return chunks(len(self), batch, rng)

    def balanced(self, rng: torch.Generator, n: int) -> Iterator[Tensor]:
        """Addresses of `n` random examples of every class, drawn anew each time, without end."""
        return balanced(self.sizes, n, rng)

    def blocks(self, n: int) -> Iterator[Tensor]:
        """Addresses of `n` examples of every class, in the set's order, over and over: step t sees block t mod B."""
        return blocks(self.sizes, n)

    def divided(self, count: int) -> Iterator[Tensor]:
        """Addresses of `count` blocks, over and over: consecutive examples of every class, the first blocks one more.

        A class with fewer examples than the largest is absent from the last blocks.

        Raises:
            UserError: some blocks would be empty.
        """
        if (most := max(self.sizes)) < count:
            raise UserError(
                f"objective.blocks: {most} examples of a class do not divide into {count} blocks; set it to {most}"
            )
        each = list(islice(self.blocks(1), most))  # one example of every class
        parts = torch.arange(most).tensor_split(count)
        return cycle([torch.cat([each[place] for place in part]).sort().values for part in parts])

    def assign_targets_(self, targets: Tensor) -> None:
        """Targets (V, K), given by an expert (TESLA), take the place of the one-hot ones."""
        self.targets.copy_(targets)

    @abstractmethod
    def groups(self) -> dict[str, list[Tensor]]:
        """What is learned, for the outer optimiser."""

    def learned_targets(self) -> dict[str, list[Tensor]]:
        """The group of learned targets, if they are."""
        own: list[Tensor] = [
            p for name, p in self.named_parameters() if name in ("targets", "parametrizations.targets.original")
        ]
        return {"targets": own} if own else {}

    @torch.no_grad()
    def project_(self) -> None:
        """Bring what is learned back to where it may lie: anywhere, unless a parametrisation says otherwise.

        Learned distributions are clamped to [0, 1] and divided by their sum (LD, Bohdal et al., 2020); where nothing is
        left of one, it is uniform.
        """
        if self.distributed:
            clamped = self.targets.clamp(0, 1)
            sums = clamped.sum(1, keepdim=True)
            self.targets.copy_(torch.where(sums > 0, clamped / sums, 1 / clamped.shape[1]))

    def begin_(self) -> None:
        """A new network begins: bring what is learned back to where it may lie then, which need not hold in between."""

    @abstractmethod
    def codes(self) -> dict[str, Tensor]:
        """What is stored of the set, by name and without a graph; `images` where these are the examples themselves."""

    def stored_floats(self) -> int:
        """What the budget counts: all numbers of the codes."""
        return sum(code.numel() for code in self.codes().values())


class Factorised(Synthetic):
    """A set whose examples are bases, each shown in several styles; its settings say `factorised`."""

    styles: int  # examples of each base

    @abstractmethod
    def pairs(self, rng: torch.Generator, batch: int | None) -> Iterator[Tensor]:
        """Addresses (2, n) of the same bases in two styles, without end; needs two styles."""
