"""Networks that grow up on the set being learned: DC's and DSA's inner loop (survey Eq. 20); IDC's on real data (27).

A network serves `outer_loop` steps; between two of them it is trained `inner_loop` epochs on the current set, detached,
with plain SGD and, for DSA, an augmentation of its own (one operation a batch, parameters per image). After its last
step it is replaced, not trained once more. Jiang et al. train fewer epochs the older a network is; CAFE looks at its
accuracy to end either loop (lifetime.py). IDC's networks take `inner_loop` batches of real images instead, in passes
over all of them that outlive a network, mixed by CutMix.

A network begins with random weights or, for Acc-DD, with those of an expert in its first epochs (early.py).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe import augmentation
from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.passes import Passes
from ddpipe.datasets.resident import Resident
from ddpipe.errors import UserError
from ddpipe.experts.buffer import Buffer
from ddpipe.networks import Classifier, initialise_
from ddpipe.randomness import Streams
from ddpipe.settings.students import trained as record
from ddpipe.students import early
from ddpipe.students.lifetime import Lifetime
from ddpipe.students.student import Student
from ddpipe.synthetic import Batch, Synthetic
from ddpipe.training import optimizers, schedules
from ddpipe.training.batch import rows_of
from ddpipe.training.loop import Descent, batches, loss_of, pass_over
from ddpipe.training.states import Stateful, joined, load


class Trained:
    """Args:
    real: what networks are trained on that do not learn the set, and what a rule looks at.
    buffer: of experts that networks begin as, where they do.
    """

    def __init__(
        self,
        config: record.TrainedStudents,
        network: Classifier,
        augment: Policy,
        real: Resident | None = None,
        buffer: Buffer | None = None,
    ):
        self.config, self.network, self.augment, self.buffer = config, network, augment, buffer
        self.life = Lifetime(config, real)
        self.real = Passes(real, config.batch) if real is not None and config.on == "real" else None
        self.classes = 0 if real is None else len(real.class_index)
        self.optimizer = optimizers.make(config, network.parameters())
        self.descent = Descent(loss_of(network), self.optimizer)

    def next(self, synthetic: Synthetic, rng: Streams, iteration: int) -> Student:
        if self.life.over(self.network, rng):
            initialise_(self.network.train(), rng("students.init"))
            if self.config.start is not None and self.buffer is not None:
                early.begin_(self.network, self.config.start, self.buffer, rng)
            self.optimizer.forget()
            self.life.begin()
        else:
            self.train(synthetic, rng)
        self.life.served += 1
        return Student(self.network, number=self.life.number, age=self.life.served - 1)

    def train(self, synthetic: Synthetic, rng: Streams) -> None:
        config = self.config
        self.network.train()
        if self.real is None:
            whole = Batch(*(tensor.detach() for tensor in synthetic.decode()))
        for number in self.life.training(self.network, rng):
            self.optimizer.lr = schedules.rate(config, number, config.passes(config.outer_loop - 1))
            if self.real is None:
                self.learn_set(whole, rng("students.train"))
            else:
                self.learn_batch(*self.real.next(rng("students.real")), rng("students.train"))

    def learn_set(self, whole: Batch, rng: torch.Generator) -> None:
        """One pass over the set."""
        pass_over(
            self.descent,
            rows_of(whole),
            len(whole.images),
            self.config.batch,
            self.augment,
            rng,
        )

    def learn_batch(self, images: Tensor, labels: Tensor, rng: torch.Generator) -> None:
        """One step on real images (n, c, h, w) of the classes `labels` (n,)."""
        one = Batch(images, F.one_hot(labels, self.classes).to(images))
        self.descent.follow(batches(lambda _: one, len(images), len(images), self.augment, rng, self.config.cutmix))

    def hints(self, synthetic: Synthetic) -> dict[str, Tensor]:
        return self.life.hints()

    def carried(self) -> dict[str, list[Tensor]]:
        return {"students": list(self.network.parameters())}

    def parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {"life": self.life, "network": self.network, "optimizer": self.optimizer}
        return parts if self.real is None else parts | {"real": self.real}

    def state_dict(self) -> dict[str, Tensor]:
        return joined(self.parts())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load(self.parts(), state)


def make(config: record.TrainedStudents, context: Context) -> Trained:
    """UserError where networks begin as experts and there are none."""
    if config.start is not None and context.buffer is None:
        raise UserError(
            "students.start: networks begin as experts of a buffer; name one as the row's needs: data/experts/<buffer>"
        )
    augment = augmentation.make(config.augment, context.flip)
    return Trained(config, context.network, augment, context.real, context.buffer)
