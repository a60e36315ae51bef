"""All images: what every distilled set is compared with."""

import torch
from torch import Tensor

from ddpipe.selections.choice import Choice


def make(choice: Choice) -> Tensor:
    return torch.arange(sum(map(len, choice.class_index)))
