"""Going through the real data batch by batch, so that a killed run goes on in the middle of a pass."""

import torch
from torch import Tensor

from ddpipe.datasets.resident import Resident
from ddpipe.sending import sent


class Passes:
    """Batches of real images in passes over all of them, each pass in a new random order, its last batch the short one.

    Order and position are state: whoever draws from it puts its `state_dict` into his own.
    """

    def __init__(self, real: Resident, batch: int):
        self.real, self.batch = real, batch
        self.order = torch.arange(len(real.labels))  # (N,) on the CPU
        self.position = len(self.order)  # images of this pass that were given: as if one had just ended

    def next(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images (n, c, h, w) in the run's pixel space, and labels (n,); `rng` is drawn from where a pass begins."""
        if self.position == len(self.order):
            self.order, self.position = torch.randperm(len(self.order), generator=rng), 0
        rows = sent(self.order[self.position : self.position + self.batch], self.real.labels.device)
        self.position += len(rows)
        return self.real.batch(rows), self.real.labels[rows]

    def state_dict(self) -> dict[str, Tensor]:
        return {"order": self.order, "position": torch.tensor(self.position)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.order, self.position = state["order"].clone(), int(state["position"])
