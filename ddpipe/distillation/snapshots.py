"""What a distillation hands over: at its end, and as snapshots of the set on its way there.

A snapshot is what the run would hand over if it ended now: with the moving average in place of what is learned, or the
set that did best so far where a rule ends the run, and with the hints of this moment. The run goes on as if nobody had
looked; nothing is chosen by them.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ddpipe.distillation.loop import Distillation
from ddpipe.files import hints

Set = dict[str, Tensor]  # the tensors of the file of a set, but for its losses
PREFIX = "snapshot/"  # of their names beside others


@torch.no_grad()
def handed_over(run: Distillation) -> Set:
    """The set of `run` as it is now, with its hints, and its codes where it is factorised, on the CPU; no copies."""
    images, targets = run.synthetic.decode()
    tensors = {"images": images, "targets": targets} | hints.as_tensors(run.hints())
    tensors |= {f"code.{name}": code for name, code in run.synthetic.codes().items() if name not in tensors}
    if run.synthetic.contents is not None:
        tensors["contents"] = run.synthetic.contents
    return {name: value.detach().cpu() for name, value in tensors.items()}


@contextlib.contextmanager
def as_if_ended(run: Distillation) -> Iterator[None]:
    """Within it what is learned is what the run would hand over; afterwards it is what it was, bit by bit."""
    rule = run.stop if run.stop is not None else run.average
    if rule is None:
        yield
        return
    kept = [x.detach().clone() for x in rule.tensors]
    rule.replace_()
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(rule.tensors, kept)


class Watched:
    """A distillation that keeps copies of its set after the iterations `at`, 0 before the first; a `Running`."""

    def __init__(self, run: Distillation, at: Iterable[int] = ()):
        self.run, self.at = run, frozenset(at)
        self.kept: dict[int, Set] = {}
        self.look()

    @property
    def iteration(self) -> int:
        return self.run.iteration

    @property
    def iterations(self) -> int:
        return self.run.iterations

    @property
    def steps(self) -> int:
        return self.run.steps

    @property
    def unit(self) -> str:
        return self.run.unit

    def look(self) -> None:
        if self.run.iteration in self.at:
            with as_if_ended(self.run):
                self.kept[self.run.iteration] = {name: x.clone() for name, x in handed_over(self.run).items()}

    def advance(self) -> None:
        self.run.advance()
        self.look()

    def check_finite(self) -> None:
        self.run.check_finite()

    def about(self) -> dict[str, Any]:
        return self.run.about()

    def state_dict(self) -> dict[str, Tensor]:
        return self.run.state_dict() | flat(self.kept)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        own, self.kept = parted(state)
        self.run.load_state_dict(own)


def flat(kept: dict[int, Set]) -> dict[str, Tensor]:
    """Snapshots by iteration as tensors of one file."""
    return {f"{PREFIX}{iteration}/{name}": x for iteration, own in kept.items() for name, x in own.items()}


def parted(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[int, Set]]:
    """The tensors of a file without those of `flat`, and what these were made of."""
    kept: dict[int, Set] = {}
    for key, value in tensors.items():
        if key.startswith(PREFIX):
            iteration, _, name = key.removeprefix(PREFIX).partition("/")
            kept.setdefault(int(iteration), {})[name] = value
    return {key: value for key, value in tensors.items() if not key.startswith(PREFIX)}, dict(sorted(kept.items()))
