"""FRePo's pool (Zhou et al., NeurIPS 2022): networks that learn from the set as it becomes, and judge it by turns.

One of the pool, drawn at random, judges: by the features that enter its last layer, in evaluation mode, which are a
kernel. After the set's step it takes a step of its own on the examples as they are now (survey Eq. 18), in half the
squared distance from their targets; if it has taken more than `life` of them, a new random network takes its place
instead. It is put back, and the next is drawn.

At the start all are new, but as if they had taken 0, 1/m, 2/m, ... of their steps: not to be replaced all at once.
"""

from copy import deepcopy

import torch
from torch import Tensor

from ddpipe.context import Context
from ddpipe.networks import Classifier, initialise_
from ddpipe.randomness import Streams
from ddpipe.settings.students import pool as record
from ddpipe.students.kernel import Features
from ddpipe.students.student import Student
from ddpipe.synthetic import Batch, Synthetic
from ddpipe.training import optimizers
from ddpipe.training.loop import Descent, loss_of
from ddpipe.training.states import Stateful, joined, load


class Member:
    """A network of the pool with its optimiser, and the steps that it has taken."""

    def __init__(self, config: record.PoolStudents, network: Classifier, steps: int, beside: "Member | None" = None):
        self.config, self.network, self.steps, self.served = config, network, steps, 0
        self.optimizer = optimizers.make(config, network.parameters())
        loss = loss_of(network, criterion="squared-error")
        self.descent: Descent = Descent(loss, self.optimizer, beside=None if beside is None else beside.descent)

    def begin(self, rng: torch.Generator) -> None:
        """A new random network, at rest."""
        initialise_(self.network, rng)
        self.optimizer.forget()

    def learn(self, batch: Batch) -> None:
        self.network.train()
        self.descent.follow([batch])
        self.steps += 1

    def parts(self) -> dict[str, Stateful]:
        return {"network": self.network, "optimizer": self.optimizer}

    def state_dict(self) -> dict[str, Tensor]:
        return joined(self.parts()) | {"counts": torch.tensor([self.steps, self.served])}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load(self.parts(), state)
        self.steps, self.served = state["counts"].tolist()


class Pool:
    def __init__(self, config: record.PoolStudents, network: Classifier):
        self.config, m = config, config.networks
        self.members: list[Member] = []
        for number in range(m):
            self.members.append(Member(config, deepcopy(network), number * config.life // m, *self.members[:1]))
        self.current, self.replaced = -1, 0  # which judges; -1: none has

    def next(self, synthetic: Synthetic, rng: Streams, iteration: int) -> Student:
        if self.current < 0:
            for member in self.members:
                member.begin(rng("students.init"))
        else:
            self.go_on(self.members[self.current], synthetic, rng)
        self.current = int(torch.randint(len(self.members), (), generator=rng("students.pool")))
        member = self.members[self.current]
        member.served += 1
        kernel = Features(member.network.eval().embed, self.config.chunk)
        return Student(number=self.replaced, age=member.served - 1, kernel=kernel)

    def go_on(self, member: Member, synthetic: Synthetic, rng: Streams) -> None:
        """One step, or another network in the place of this one."""
        if member.steps > self.config.life:
            member.begin(rng("students.init"))
            member.steps, member.served = 0, 0
            self.replaced += 1
            return
        whole = len(synthetic) <= self.config.batch
        rows = None if whole else torch.randperm(len(synthetic), generator=rng("students.batches"))[: self.config.batch]
        member.learn(Batch(*(part.detach() for part in synthetic.decode(rows))))

    def hints(self, synthetic: Synthetic) -> dict[str, Tensor]:
        return {}

    def carried(self) -> dict[str, list[Tensor]]:
        """Of the network that judges the last layer, where a step that goes wrong begins; the others lie still."""
        return {"students": [self.members[self.current].network.classifier.weight]}

    def parts(self) -> dict[str, Stateful]:
        return {str(number): member for number, member in enumerate(self.members)}

    def state_dict(self) -> dict[str, Tensor]:
        return joined(self.parts()) | {"counts": torch.tensor([self.current, self.replaced])}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load(self.parts(), state)
        self.current, self.replaced = state["counts"].tolist()


def make(config: record.PoolStudents, context: Context) -> Pool:
    return Pool(config, context.network)
