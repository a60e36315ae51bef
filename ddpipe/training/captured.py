"""A step of training as one launch: captured as a CUDA graph once, replayed from then on; a CPU calls it.

A small network leaves an accelerator idle between hundreds of kernels, each launched from Python. A step may be
captured if it is a function of tensors that changes other tensors in place (weights, an optimiser's state, statistics):
the same kernels on the same memory whatever the numbers are. So it reads no number and takes nothing from the host, and
what changes from step to step lies in its inputs or on the device (`Optimizer.reside`). Augmentation, whose draws are
made on the host, comes before it.

The first calls are the step itself, on a stream of its own: libraries choose their kernels in them. Then it is
captured, which changes nothing, for each choice of shapes: a short last batch has a graph of its own. Where that fails,
for lack of memory or for a kernel that cannot be captured, the step goes on being called.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ddpipe import device as devices
from ddpipe.progress import say
from ddpipe.training.optimizers import Optimizer

WARM = 3  # calls with inputs of some shapes before they are captured

Step = Callable[..., Any]  # tensors -> a tensor, or a tuple or dict of tensors


class Recorder(Protocol):
    """How steps on a device are captured."""

    def warm(self, step: Step, inputs: Sequence[Tensor]) -> Any:
        """What `step` gives, called as it will be recorded."""

    def record(self, step: Step, inputs: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
        """What does it again on the same memory, and what it gives there. Nothing is computed now.

        Raises:
            RuntimeError: it cannot be captured.
        """


@cache
def aside(device: torch.device) -> torch.cuda.Stream:
    """The stream on which steps are warmed up and captured: one, as libraries keep memory for every stream."""
    return torch.cuda.Stream(device)


class Graphs:
    """CUDA graphs on one device that share their memory, which is free again once all of them are gone."""

    def __init__(self, device: torch.device):
        self.device, self.stream, self.pool = device, aside(device), torch.cuda.graph_pool_handle()

    def warm(self, step: Step, inputs: Sequence[Tensor]) -> Any:
        here = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            found = step(*inputs)
        here.wait_stream(self.stream)
        return found

    def record(self, step: Step, inputs: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
        graph, here = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                found = step(*inputs)
        finally:
            torch.cuda.set_stream(here)  # where capturing fails, torch before 2.15 stays on the other
        return graph.replay, found


def recorder(device: torch.device) -> Recorder | None:
    """How steps on `device` are captured; None: they are called."""
    return Graphs(device) if device.type == "cuda" and devices.graphs else None


class Kept(NamedTuple):
    """A captured step: the memory of its inputs and outputs, and what computes these anew."""

    inputs: list[Tensor]
    outputs: Any
    replay: Callable[[], None]


class Captured:
    """`step`, captured by `how` once it was called a few times; None: it is always called.

    What a call gives is valid until the next one.
    """

    def __init__(self, step: Step, how: Recorder | None):
        self.step, self.how = step, how
        self.called: Counter[Any] = Counter()
        self.kept: dict[Any, Kept] = {}

    def __call__(self, *inputs: Tensor) -> Any:
        if self.how is None:
            return self.step(*inputs)
        shapes = tuple((given.shape, given.dtype) for given in inputs)
        self.called[shapes] += 1
        if self.called[shapes] <= WARM:
            return self.how.warm(self.step, inputs)
        if shapes not in self.kept and not self.capture(self.how, shapes, inputs):
            return self.step(*inputs)
        kept = self.kept[shapes]
        for place, given in zip(kept.inputs, inputs, strict=True):
            place.copy_(given.detach())
        kept.replay()
        return kept.outputs

    def capture(self, how: Recorder, shapes: Any, inputs: Sequence[Tensor]) -> bool:
        """Whether the step on inputs of these shapes is captured now; if not, no further one will be."""
        places = [torch.empty_like(given).copy_(given.detach()) for given in inputs]
        try:
            replay, outputs = how.record(self.step, places)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            say(f"run.graphs: a step of training was not captured and is called each time, which is slower: {reason}")
            self.how = None
            return False
        self.kept[shapes] = Kept(places, outputs, replay)
        return True


def captured(step: Step, optimizer: Optimizer, beside: Captured | None = None) -> Captured:
    """`step` of `optimizer`, captured where its parameters lie on a device that can.

    Args:
        beside: another one, as long-lived and never called at the same time, in whose memory it computes.
    """
    how = recorder(optimizer.parameters[0].device) if beside is None else beside.how
    if how is not None:
        optimizer.reside()
    return Captured(step, how)
