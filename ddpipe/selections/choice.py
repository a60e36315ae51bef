"""What a rule may look at when it chooses real images."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor

from ddpipe.settings.part import Rule, program


@dataclass(frozen=True)
class Choice:
    """The training images of one set to choose.

    `class_index` holds the row numbers of each class, ascending, on the CPU; features are those of an expert.
    """

    class_index: list[Tensor]
    ipc: int
    rng: torch.Generator
    features: Callable[[], Tensor]  # () -> (N, F)


def pick(rule: Rule, choice: Choice) -> Tensor:
    """Row numbers of the images that `rule` picks, class by class, each class in the order of selection: int64 (V,)."""
    return import_module(program(rule)).make(choice)
