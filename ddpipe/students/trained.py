"""Networks that grow up on the set being learned: DC's and DSA's inner loop (survey Eq. 20).

A network serves `outer_loop` steps; between two of them it is trained `inner_loop` epochs on the current set, detached,
with plain SGD and, for DSA, an augmentation of its own (one operation a batch, parameters per image). After its last
step it is replaced, not trained once more. Jiang et al. train fewer epochs the older a network is; CAFE looks at its
accuracy to end either loop (lifetime.py).
"""

from torch import Tensor

from ddpipe import augmentation
from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.networks import Classifier, initialise_
from ddpipe.randomness import Streams
from ddpipe.settings.students import trained as record
from ddpipe.students.lifetime import Lifetime
from ddpipe.students.student import Student
from ddpipe.synthetic import Batch, Synthetic
from ddpipe.training import optimizers, schedules
from ddpipe.training.loop import pass_over
from ddpipe.training.optimizers import Optimizer


class Trained:
    def __init__(
        self, config: record.TrainedStudents, network: Classifier, augment: Policy, real: Resident | None = None
    ):
        self.config, self.network, self.augment = config, network, augment
        self.life = Lifetime(config, real)
        self.optimizer = self.new_optimizer()

    def new_optimizer(self) -> Optimizer:
        return optimizers.make(self.config, self.network.parameters())

    def next(self, synthetic: Synthetic, rng: Streams, iteration: int) -> Student:
        if self.life.over(self.network, rng):
            initialise_(self.network.train(), rng("students.init"))
            self.optimizer = self.new_optimizer()
            self.life.begin()
        else:
            self.train(synthetic, rng)
        self.life.served += 1
        return Student(self.network, number=self.life.number, age=self.life.served - 1)

    def train(self, synthetic: Synthetic, rng: Streams) -> None:
        images, targets = (tensor.detach() for tensor in synthetic.decode())
        config = self.config
        self.network.train()
        for number in self.life.training(self.network, rng):
            self.optimizer.lr = schedules.rate(config, number, config.passes(config.outer_loop - 1))
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
        return self.life.hints()

    def carried(self) -> dict[str, list[Tensor]]:
        return {"students": list(self.network.parameters())}

    def state_dict(self) -> dict[str, Tensor]:
        network = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        optimizer = {f"optimizer.{name}": value for name, value in self.optimizer.state_dict().items()}
        life = {f"life.{name}": value for name, value in self.life.state_dict().items()}
        return life | network | optimizer

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        parts: dict[str, dict[str, Tensor]] = {"life": {}, "network": {}, "optimizer": {}}
        for key, value in state.items():
            part, _, name = key.partition(".")
            parts[part][name] = value
        self.life.load_state_dict(parts["life"])
        self.network.load_state_dict(parts["network"])
        self.optimizer.load_state_dict(parts["optimizer"])


def make(config: record.TrainedStudents, context: Context) -> Trained:
    return Trained(config, context.network, augmentation.make(config.augment, context.flip), context.real)
