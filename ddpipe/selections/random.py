"""Random images of each class."""

import torch
from torch import Tensor

from ddpipe.datasets.resident import check_images
from ddpipe.selections.choice import Choice


def random(class_index: list[Tensor], ipc: int, rng: torch.Generator) -> Tensor:
    """The start of one permutation per class: equal generators give nested selections, IPC 1 inside IPC 10."""
    check_images(class_index, ipc)
    return torch.stack([rows[torch.randperm(len(rows), generator=rng)[:ipc]] for rows in class_index])


def make(choice: Choice) -> Tensor:
    return random(choice.class_index, choice.ipc, choice.rng).flatten()
