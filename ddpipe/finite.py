"""Which part of a distillation lost its numbers first: noted on the device without waiting for it."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Watch:
    """The first iteration after which each part held a number that is not finite."""

    def __init__(self, parts: Sequence[str], device: torch.device):
        self.first = {part: torch.full((), -1, dtype=torch.int64, device=device) for part in parts}

    @torch.no_grad()
    def note(self, part: str, iteration: int, tensors: Sequence[Tensor]) -> None:
        """Look at the tensors of `part`; only kernels are queued."""
        for tensor in tensors:
            lost = (self.first[part] < 0) & ~tensor.isfinite().all().to(self.first[part].device)
            self.first[part].masked_fill_(lost, iteration)

    def earliest(self) -> tuple[str, int] | None:
        """The part that was the first, and when; of several in one iteration the one that is used first."""
        found = [(int(when), part) for part, when in self.first.items() if int(when) >= 0]
        when, part = min(found, key=lambda pair: pair[0], default=(-1, ""))
        return (part, when) if part else None

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.first)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for part, when in state.items():  # of an older checkpoint: none
            self.first[part].copy_(when)
