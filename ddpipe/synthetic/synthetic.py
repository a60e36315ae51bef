"""What the loop, objectives and students ask of a parametrisation: V virtual examples behind addresses."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from ddpipe.training.batch import Batch


class Synthetic(Protocol):
    """A set being learned, as addresses 0, ..., V - 1 of examples that lie class by class."""

    classes: Tensor  # (V,) class of each example, ascending
    targets: Tensor  # (V, K)
    sizes: list[int]  # examples of each class

    def __len__(self) -> int:
        """V."""

    def decode(self, index: Tensor | None = None) -> Batch:
        """The examples at the addresses `index`, with the graph of what is learned; left out: all, in order."""

    def batches(self, rng: torch.Generator, batch: int | None) -> Iterator[Tensor]:
        """Addresses for one student, without end."""

    def assign_targets_(self, targets: Tensor) -> None:
        """Replace the targets (V, K)."""

    def groups(self) -> dict[str, list[Tensor]]:
        """What is learned, for the outer optimiser."""

    def project_(self) -> None:
        """Bring what is learned back to where it may lie."""

    def stored_floats(self) -> int:
        """What the budget counts."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class Factorised(Synthetic, Protocol):
    """A set whose examples are bases, each shown in several styles; its settings say `factorised`."""

    contents: Tensor  # (V,) the base behind each example
    styles: int  # examples of each base

    def pairs(self, rng: torch.Generator, batch: int | None) -> Iterator[Tensor]:
        """Addresses (2, n) of the same bases in two styles, without end; needs two styles."""

    def codes(self) -> dict[str, Tensor]:
        """What the examples are made of, by name: what the budget counts."""
