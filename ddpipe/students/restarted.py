"""LD's networks (Bohdal et al., 2020): each goes on learning from the set, and a rule in place of a length ends it.

The objective trains the network, one step an iteration, and says how many percent of the real batch it got wrong. The
rule adds up the last G error rates. Once this sum has not fallen for more than G steps, the network is replaced; the
steps until the smallest sum are noted, and the mean over the last three networks is how long users of the set train.
"""

import math
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from ddpipe.context import Context
from ddpipe.networks import Classifier, initialise_
from ddpipe.progress import say
from ddpipe.randomness import Streams
from ddpipe.settings.students import restarted as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic
from ddpipe.training import optimizers
from ddpipe.training.states import Stateful, joined, load

LAST = 3  # networks whose steps are averaged


class Patience:
    """The rule. `steps` of the present network, `used` by the last networks until their smallest sum of error rates.

    Error rates stay where they were computed until they can end a network: reading one waits for the device.
    """

    def __init__(self, patience: int):
        self.patience = patience
        self.used: deque[int] = deque(maxlen=LAST)
        self.restarts = -1
        self.restart()

    def restart(self) -> None:
        self.errors: deque[float] = deque(maxlen=self.patience)  # in percent
        self.unread: list[Tensor] = []  # the last ones, () each
        self.steps, self.lowest, self.since = 0, math.inf, 0  # since the smallest sum
        self.restarts += 1

    @property
    def earliest(self) -> int:
        """After how many more error rates than have been read it may be over at the earliest."""
        first = self.patience - len(self.errors)  # until there is a sum, which is the smallest so far
        return first + self.patience - self.since + 1

    def note(self, error: Tensor) -> None:
        """One more step, after which `error` percent, (), of the real batch were wrong."""
        self.unread.append(error)
        self.steps += 1
        if len(self.unread) >= self.earliest:
            self.read()

    def read(self) -> None:
        """Learn what the error rates are."""
        steps, unread = self.steps - len(self.unread), self.unread
        self.unread = []
        for number, error in enumerate(torch.stack(unread).tolist() if unread else [], steps + 1):
            self.judge(error, number)

    def judge(self, error: float, steps: int) -> None:
        """After so many steps `error` percent were wrong."""
        self.errors.append(error)
        if steps < self.patience:
            return
        total = math.fsum(self.errors)
        if total < self.lowest:
            self.lowest, self.since = total, 0
        elif self.since < self.patience:
            self.since += 1
        else:
            self.used.append(steps - self.since - 1)
            self.restart()

    def length(self) -> int:
        """Steps that a network should take: as the authors' code, those of the present one until one was replaced."""
        return sum(self.used) // len(self.used) if self.used else self.steps

    def state_dict(self) -> dict[str, Tensor]:
        self.read()
        return {
            "errors": torch.tensor([self.lowest, *self.errors], dtype=torch.float64),
            "counts": torch.tensor([self.steps, self.since, self.restarts, *self.used]),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.lowest, *errors = state["errors"].tolist()
        self.steps, self.since, self.restarts, *used = state["counts"].tolist()
        self.errors, self.used, self.unread = deque(errors, self.patience), deque(used, LAST), []


class Restarted:
    def __init__(self, config: record.RestartedStudents, network: Classifier):
        self.config, self.network = config, network
        self.rule = Patience(config.patience)
        self.optimizer = optimizers.make(config, network.parameters())

    def next(self, synthetic: Synthetic, rng: Streams, iteration: int) -> Student:
        if self.rule.steps == 0:
            initialise_(self.network.train(), rng("students.init"))
            self.optimizer.forget()
        return Student(self.network, number=self.rule.restarts, age=self.rule.steps, learn=self.learn)

    def learn(self, gradients: Sequence[Tensor], error: Tensor) -> None:
        self.optimizer.step(gradients)
        self.rule.note(error)

    def hints(self, synthetic: Synthetic) -> dict[str, Tensor]:
        """`steps`: how long a network should learn from the set; a line says so where none was replaced."""
        if not self.rule.used:
            say(
                f"students.patience: no network stopped gaining, so hint steps, {self.rule.length()}, is only how far "
                f"the first one came; raise iterations above some ten times the patience, {self.config.patience}"
            )
        return {"steps": torch.tensor(float(self.rule.length()))}

    def carried(self) -> dict[str, list[Tensor]]:
        return {"students": list(self.network.parameters())}

    def parts(self) -> dict[str, Stateful]:
        return {"network": self.network, "optimizer": self.optimizer, "rule": self.rule}

    def state_dict(self) -> dict[str, Tensor]:
        return joined(self.parts())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load(self.parts(), state)


def make(config: record.RestartedStudents, context: Context) -> Restarted:
    return Restarted(config, context.network)
