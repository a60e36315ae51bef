"""Networks that grow up on the set being learned: DC's and DSA's inner loop (survey Eq. 20).

A network serves `outer_loop` steps; between two of them it is trained `inner_loop` epochs on the current set, detached,
with plain SGD and, for DSA, an augmentation of its own (one operation a batch, parameters per image). After its last
step it is replaced, not trained once more.
"""

import torch
from torch import Tensor

from ddpipe import augmentation
from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.networks import Classifier, initialise_
from ddpipe.randomness import Streams
from ddpipe.settings.students import trained as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Batch, Synthetic
from ddpipe.training import optimizers, schedules
from ddpipe.training.loop import pass_over
from ddpipe.training.optimizers import Optimizer


class Trained:
    def __init__(self, config: record.TrainedStudents, network: Classifier, augment: Policy):
        self.config, self.network, self.augment = config, network, augment
        self.served = 0  # steps the present network has served
        self.optimizer = self.new_optimizer()

    def new_optimizer(self) -> Optimizer:
        return optimizers.make(self.config, self.network.parameters())

    def next(self, synthetic: Synthetic, rng: Streams, iteration: int) -> Student:
        if self.served % self.config.outer_loop == 0:
            initialise_(self.network.train(), rng("students.init"))
            self.optimizer, self.served = self.new_optimizer(), 0
        else:
            self.train(synthetic, rng)
        age, self.served = self.served, self.served + 1
        return Student(self.network, number=iteration // self.config.outer_loop, age=age)

    def train(self, synthetic: Synthetic, rng: Streams) -> None:
        images, targets = (tensor.detach() for tensor in synthetic.decode())
        config, done = self.config, (self.served - 1) * self.config.inner_loop  # passes of the present network
        self.network.train()
        for number in range(done, done + config.inner_loop):
            self.optimizer.lr = schedules.rate(config, number, (config.outer_loop - 1) * config.inner_loop)
            pass_over(
                self.network,
                self.optimizer,
                lambda index: Batch(images[index], targets[index]),
                len(images),
                config.batch,
                self.augment,
                rng("students.train"),
            )

    def hints(self, synthetic: Synthetic) -> dict[str, Tensor]:
        return {}

    def carried(self) -> dict[str, list[Tensor]]:
        return {"students": list(self.network.parameters())}

    def state_dict(self) -> dict[str, Tensor]:
        network = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        optimizer = {f"optimizer.{name}": value for name, value in self.optimizer.state_dict().items()}
        return {"served": torch.tensor(self.served)} | network | optimizer

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "optimizer": {}}
        for key, value in state.items():
            part, _, name = key.partition(".")
            if name:
                parts[part][name] = value
        self.served = int(state["served"])
        self.network.load_state_dict(parts["network"])
        self.optimizer.load_state_dict(parts["optimizer"])


def make(config: record.TrainedStudents, context: Context) -> Trained:
    return Trained(config, context.network, augmentation.make(config.augment, context.flip))
