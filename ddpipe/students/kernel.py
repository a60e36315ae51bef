"""Kernels between images: what judges a set by kernel ridge regression (survey section 4.4, Eq. 14-17)."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


class Kernel(ABC):
    """K(a, b) for images a, b, with its derivative by those of the set."""

    @abstractmethod
    def cross(self, real: Tensor, shown: Tensor) -> Tensor:
        """(m, n) between real images (m, c, h, w) and those of the set (n, c, h, w); differentiable by the latter."""

    @abstractmethod
    def own(self, shown: Tensor) -> Tensor:
        """(n, n) of the set's images (n, c, h, w) with themselves, differentiable by them."""


class Features(Kernel):
    """scale x phi(a) phi(b)^T + shift, with the features phi (n, F) that `embed` gives.

    The features of the images that are shown are computed once, however often these are asked for; of more than a
    `chunk` they are computed once more on the way back, so that no more than a chunk's maps are held.

    Args:
        chunk: images of either side in one pass.
    """

    def __init__(self, embed: Callable[[Tensor], Tensor], chunk: int, scale: float = 1.0, shift: float = 0.0):
        self.embed, self.chunk, self.scale, self.shift = embed, chunk, scale, shift
        self.last: tuple[Tensor, Tensor] | None = None  # images that were shown, and their features

    def cross(self, real: Tensor, shown: Tensor) -> Tensor:
        mine = self.features(shown)
        return torch.cat([self.product(self.theirs(part), mine) for part in real.split(self.chunk)])

    def own(self, shown: Tensor) -> Tensor:
        mine = self.features(shown)
        return self.product(mine, mine)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        return self.scale * (a @ b.T) + self.shift

    @torch.no_grad()
    def theirs(self, real: Tensor) -> Tensor:
        return self.embed(real)

    def features(self, shown: Tensor) -> Tensor:
        if self.last is None or self.last[0] is not shown:
            parts = shown.split(self.chunk)
            held = len(parts) > 1 and torch.is_grad_enabled()
            found = [
                checkpoint(self.embed, part, use_reentrant=False, preserve_rng_state=False)
                if held
                else self.embed(part)
                for part in parts
            ]
            self.last = shown, torch.cat(found)
        return self.last[1]
