"""What a graph keeps in memory, counted rather than guessed, and how much of it may be kept to save time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ddpipe.device import free_memory
from ddpipe.memory import GIB, machine_memory

LENT = 3 * GIB // 2  # fifty steps of the published CIFAR-10 network at one image a class


def allowance(device: torch.device) -> int:
    """Bytes for what could be computed again: a quarter of what is free on a device, LENT on a CPU.

    A small machine lends an eighth of its memory: other stages run beside.
    """
    free = free_memory(device)
    return min(LENT, machine_memory() // 8) if free is None else free // 4


class Saved:
    """Storages that a graph saved, and their bytes; those of `known` tensors do not count."""

    def __init__(self, known: Iterable[Tensor]):
        self.counted = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.alive: list[Tensor] = []  # so that no two storages have one address
        self.bytes = 0

    def note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.counted:
            self.counted.add(storage.data_ptr())
            self.alive.append(tensor.detach())
            self.bytes += storage.nbytes()
        return tensor.detach()  # itself it would never be freed: its graph would hold it, and it its graph


@contextmanager
def saving(known: Iterable[Tensor]) -> Iterator[Saved]:
    """Count what is saved for derivatives in here."""
    saved = Saved(known)
    with torch.autograd.graph.saved_tensors_hooks(saved.note, lambda tensor: tensor):
        yield saved
    saved.alive.clear()
