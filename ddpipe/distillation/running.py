"""From wherever a killed process left a run to its end: the one loop around distillations, experts and generators."""

import math
import time
from typing import Any, Protocol

import torch
from torch import Tensor

from ddpipe.device import describe
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.meter import Meter, total
from ddpipe.progress import Progress, say
from ddpipe.settings import Run

LOOKED = 60.0  # seconds between two looks for numbers that were lost, however seldom checkpoints are


class Running(Protocol):
    """What goes on iteration by iteration; between two of them all of its state lies in tensors."""

    @property
    def iteration(self) -> int:
        """Finished ones."""

    @property
    def iterations(self) -> int:
        """All of them."""

    @property
    def steps(self) -> int:
        """Steps that an iteration consists of: `run.checkpoint_every` counts these."""

    @property
    def unit(self) -> str:
        """What an iteration is called."""

    def advance(self) -> None:
        """One iteration."""

    def check_finite(self) -> None:
        """UserError once numbers were lost. May wait for the device: called seldom, and before every checkpoint."""

    def about(self) -> dict[str, Any]:
        """What a checkpoint has to say beside the tensors; when this returns, the files that it counts on are safe."""

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...


def run_to_end(
    run: Running,
    store: Checkpoints,
    piece: str,
    name: str,
    how: Run,
    device: torch.device,
    progress: Progress,
    counts: int = 1,
) -> dict[str, Any]:
    """Advance `run` to its end, from the checkpoint `piece` if `store` has one; what it cost, over all processes.

    A checkpoint is written after every `how.checkpoint_every` steps, but only once `how.checkpoint_seconds` have gone
    since the last; and after the last iteration, so that what is made of it can be interrupted too.

    Args:
        name: of the run, in the log.
        progress: goes on by `counts` with every iteration.
    """
    every = math.ceil(how.checkpoint_every / run.steps)
    earlier: list[dict[str, Any]] = []
    if (found := store.read(piece)) is not None:
        state, meta = found
        run.load_state_dict(state)
        earlier = [meta["cost"]]
        say(f"{name}: resuming at {run.unit} {run.iteration} of {run.iterations}")
        if (begun := meta["cost"]["device"]) != describe(device):
            say(f"{name}: begun on {begun}; going on here, the bits differ from those of an unbroken run")
    resumed = [at for cost in earlier for at in cost["resumed_at"]] + ([run.iteration] if run.iteration else [])
    progress.skip(counts * run.iteration)
    meter = Meter(device)

    def cost() -> dict[str, Any]:
        return total([*earlier, meter.record()]) | {"resumed_at": resumed}

    saved = looked = time.monotonic()
    while run.iteration < run.iterations:
        run.advance()
        now, last = time.monotonic(), run.iteration == run.iterations
        save = last or (run.iteration % every == 0 and now - saved >= how.checkpoint_seconds)
        if save or now - looked >= LOOKED:
            run.check_finite()
            looked = now
        if save:
            store.write(piece, run.state_dict(), **run.about(), cost=cost())
            saved = time.monotonic()
        progress.advance(steps=counts)
    return cost()
