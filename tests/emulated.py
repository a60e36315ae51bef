"""CUDA graphs without a card: what a captured step does, noted call by call, and done again on the same memory.

As on a device, capturing computes nothing that stays: what the step wrote meanwhile is put back. As there, a replay
knows the kernels and the memory, not Python: a number that changed since is the one that was captured. And as there,
reading a number, drawing one, or taking one from the host ends the capture with an error.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from ddpipe.training import captured

REFUSED = {  # operations that wait for the device, whose shapes depend on numbers, or which come from the host
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique", "unique2", "_unique2"),
    *(
        "lift_fresh",
        "scalar_tensor",
        "rand",
        "randn",
        "randint",
        "randperm",
        "uniform_",
        "normal_",
        "bernoulli_",
        "random_",
    ),
}


def storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def tensors(*parts: Any) -> list[Tensor]:
    return [part for part in tree_flatten(parts)[0] if isinstance(part, Tensor)]


class Noting(TorchDispatchMode):
    """The calls of a step in order, and the foreign memory that it uses."""

    def __init__(self, known: Iterable[Tensor]):
        super().__init__()
        self.calls: list[tuple[Callable, tuple, dict, Any]] = []
        self.made = {storage(tensor) for tensor in known}
        self.foreign: dict[int, tuple[Tensor, Tensor]] = {}  # as a whole, and a copy of what was in it

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = func._schema.name.removeprefix("aten::"), kwargs or {}
        masked = name in ("index", "index_put_") and any(part.dtype == torch.bool for part in tensors(args[1]))
        if name in REFUSED or masked:
            raise RuntimeError(f"{name} is not permitted when stream is capturing")
        for tensor in tensors(args, kwargs):
            if storage(tensor) not in self.made and storage(tensor) not in self.foreign:
                whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
                self.foreign[storage(tensor)] = whole, whole.clone()
        found = func(*args, **kwargs)
        self.made |= {storage(tensor) for tensor in tensors(found)} - {storage(t) for t in tensors(args, kwargs)}
        self.calls.append((func, args, kwargs, found))
        return found

    def again(self) -> None:
        """Every call once more, its results where they were."""
        with torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, found in self.calls:
                inputs = {storage(tensor) for tensor in tensors(args, kwargs)}
                for place, fresh in zip(tensors(found), tensors(func(*args, **kwargs)), strict=True):
                    if storage(place) not in inputs:  # else a view, or in place
                        place.copy_(fresh)


class Emulated:
    """A recorder for tests; `foreign` are the tensors that captured steps took from outside beside their inputs."""

    def __init__(self) -> None:
        self.captures, self.replays, self.foreign = 0, 0, list[Tensor]()

    def warm(self, step: captured.Step, inputs: Sequence[Tensor]) -> Any:
        return step(*inputs)

    def record(self, step: captured.Step, inputs: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
        noting = Noting(inputs)
        try:
            with noting:
                outputs = step(*inputs)
        finally:
            for now, before in noting.foreign.values():
                now.copy_(before)
        self.captures += 1
        self.foreign += [now for now, _ in noting.foreign.values()]

        def replay() -> None:
            self.replays += 1
            noting.again()

        return replay, outputs


class Uncaptured(Emulated):
    """The same steps on the same memory, called each time."""

    def record(self, step: captured.Step, inputs: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
        outputs: list[Tensor] = []
        place = torch.zeros(())

        def call() -> None:
            outputs[:] = tensors(step(*inputs))
            place.copy_(outputs[0])

        return call, place
