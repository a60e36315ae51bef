"""Experts on their way, their snapshots written as they are made."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ddpipe.experts.buffer import Snapshots
from ddpipe.experts.training import Cohort
from ddpipe.settings import Experts


class Recording:
    """A cohort that runs to its end pass by pass (`distillation.running.Running`).

    Args:
        group: the numbers of its networks.
        files: where the snapshots of each go.
    """

    unit = "pass"

    def __init__(self, cohort: Cohort, group: list[int], files: Sequence[Snapshots]):
        self.cohort, self.group, self.files = cohort, group, files
        self.iterations = cohort.config.passes
        self.steps = math.ceil(cohort.n / cohort.config.batch)

    @property
    def iteration(self) -> int:
        return self.cohort.passes

    def advance(self) -> None:
        """One pass, from the first weights if there was none before."""
        if not self.iteration and snapshots_after(self.cohort.config, 0):
            self.append()
        self.cohort.advance()
        if snapshots_after(self.cohort.config, self.iteration) > snapshots_after(
            self.cohort.config, self.iteration - 1
        ):
            self.append()

    def append(self) -> None:
        for file, snapshot in zip(self.files, self.cohort.snapshots(), strict=True):
            file.append(snapshot)

    def check_finite(self) -> None:
        """The cohort looks after every pass."""

    def about(self) -> dict[str, Any]:
        for file in self.files:
            file.sync()
        return {"group": self.group, "digests": [file.digests for file in self.files]}

    def state_dict(self) -> dict[str, Tensor]:
        return self.cohort.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.cohort.load_state_dict(state)


def snapshots_after(config: Experts, done: int) -> int:
    """How many snapshots are kept of a network that has finished `done` passes."""
    return done + 1 if config.keep == "all" else int(done == config.passes)
