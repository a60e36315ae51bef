"""Which part of a distillation lost its numbers first: noted on the device without waiting for it."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Watch:
    """The first iteration after which each part held a number that is not finite.

    Args:
        parts: in the order in which an iteration uses them.
    """

    def __init__(self, parts: Sequence[str], device: torch.device):
        self.parts = list(parts)
        self.first = torch.full((len(self.parts),), -1, dtype=torch.int64, device=device)

    @torch.no_grad()
    def note(self, iteration: int, tensors: Sequence[Sequence[Tensor]]) -> None:
        """Look at the tensors of each part; only kernels are queued, one a tensor and a few beside them.

        A sum is finite exactly when all its terms are: float32 numbers cannot overflow one in float64.
        """
        sums = [tensor.sum(dtype=torch.float64).to(self.first.device) for own in tensors for tensor in own]
        sizes = [len(own) for own in tensors]
        lost = torch.stack([part.sum() if len(part) != 1 else part[0] for part in torch.stack(sums).split(sizes)])
        self.first.masked_fill_((self.first < 0) & ~lost.isfinite(), iteration)

    def earliest(self) -> tuple[str, int] | None:
        """The part that was the first, and when; of several in one iteration the one that is used first."""
        found = [(when, number) for number, when in enumerate(self.first.tolist()) if when >= 0]
        when, number = min(found, default=(-1, -1))
        return (self.parts[number], when) if found else None

    def state_dict(self) -> dict[str, Tensor]:
        return {"first": self.first}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if "first" in state:  # of an older checkpoint: nothing
            self.first.copy_(state["first"])
