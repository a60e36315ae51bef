"""Training unrolled: DD (Wang et al., 2018), SLDD, RTP, GTN; survey Eq. 8-13.

A new student's training on the set shall leave it good on real images:

1. from fresh weights theta_0 take T steps of SGD on the set, each on its next block or on random examples of a class;
2. L = the mean cross-entropy of theta_T on a batch of real images, and of some theta_t on others (GTN);
3. descend in the set, and in step sizes and momenta where they are learned, exactly through all steps.

The set is decoded and augmented once, before the steps. Backwards what the steps find for an example is added up on the
way (`ddpipe.training.sweep`): memory grows by a step's weights, not by its images. "full" differentiates one graph of
all steps. The student is in training mode throughout: batch norm takes each batch's own statistics. Only a network that
is meant to be judged with those of its last batch (GTN's) is so, and differentiated through them (`training.carried`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe import augmentation
from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.passes import Passes
from ddpipe.datasets.resident import Resident
from ddpipe.networks import Classifier, carries_statistics
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.sending import sent, sent_together
from ddpipe.settings.objectives import unroll as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Batch, Synthetic
from ddpipe.training import carried, sweep
from ddpipe.training.carried import Carrying
from ddpipe.training.replayed import replayed
from ddpipe.training.states import Stateful, joined, load
from ddpipe.training.sweep import Compiled, Gradient

RATES: dict[str, Any] = {  # what a raw number stands for, step size or momentum, and the raw number of that
    "fixed": (lambda raw: raw, lambda lr: lr),
    "softplus": (F.softplus, lambda lr: math.log(math.expm1(lr))),
    "log": (torch.exp, math.log),
}


class Shown(Sequence[Batch]):
    """What each step sees of the set: cut out when it is asked for, as the steps together may show it many times."""

    def __init__(self, whole: Batch, rows: Sequence[Tensor]):
        self.whole, self.rows = whole, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, t: Any) -> Any:
        return Batch(*(part[self.rows[t]] for part in self.whole))


class Unroll(Objective):
    """The objective of DD, SLDD, RTP and GTN; may learn the step size and the momentum of each step.

    Args:
        real_batch: real images of each class; not asked for where they come in passes.
        varied: augments the real batch alone.
    """

    def __init__(self, config: record.Unroll, real: Resident, real_batch: int, varied: Policy, compiled: bool = False):
        self.config, self.real_batch, self.varied, self.compiled = config, real_batch, varied, compiled
        self.rate, raw = RATES[config.rates]
        device = "cpu" if real is None else real.labels.device
        self.raw = torch.full((config.steps,), raw(config.lr), device=device, requires_grad=config.rates != "fixed")
        self.raw_momenta: Tensor | None = None  # logarithms of learned momenta
        if config.momenta == "log" and config.momentum:
            self.raw_momenta = torch.full((config.steps,), math.log(config.momentum), device=device, requires_grad=True)
        self.passes = None if config.batch is None or real is None else Passes(real, config.batch)
        self.last: Gradient | None = None

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        assert student.network is not None, "the record accepts networks only"
        classes = self.task(len(synthetic.sizes), rng)
        shown = list(islice(self.shown(synthetic, classes, rng), self.config.steps))
        rows = sent_together(shown, synthetic.classes.device)
        whole = synthetic.decode()
        draw = augment.draw(rng("augment"), 1, *whole.images.shape[-2:])
        judging = {}
        for t in self.config.looks:
            images, labels = self.sample(real, classes, rng)
            images = self.varied(images, self.varied.draw(rng("real.augment"), len(images), *images.shape[-2:]))
            judging[t] = Batch(augment(images, draw), labels)
        start = torch.cat([p.detach().flatten() for p in student.network.parameters()])
        whole = Batch(augment(whole.images, draw), whole.targets)
        yield self.match(self.gradient(student.network), start, whole, rows, judging)

    def task(self, classes: int, rng: Streams) -> Tensor:
        """The classes that this iteration is about, ascending."""
        if (count := self.config.classes or classes) >= classes:
            return torch.arange(classes)
        return torch.randperm(classes, generator=rng("task"))[:count].sort().values

    def shown(self, synthetic: Synthetic, classes: Tensor, rng: Streams) -> Iterator[Tensor]:
        """Addresses of what each step sees, of these classes alone."""
        if self.config.examples is None:
            steps = synthetic.divided(self.config.blocks or 1)
        else:
            steps = synthetic.balanced(rng("synthetic.balanced"), self.config.examples)
        if len(classes) == len(synthetic.sizes):
            return steps
        own = torch.arange(len(synthetic.sizes)).repeat_interleave(torch.tensor(synthetic.sizes))
        return (rows[torch.isin(own[rows], classes)] for rows in steps)

    def sample(self, real: Resident, classes: Tensor, rng: Streams) -> tuple[Tensor, Tensor]:
        """Real images (n, c, h, w) and their labels (n,)."""
        if self.passes is not None:
            return self.passes.next(rng("real"))
        rows = torch.cat([real.sample_index(label, self.real_batch, rng("real")) for label in classes.tolist()])
        return real.batch(rows), real.labels[sent(rows, real.labels.device)]

    def gradient(self, network: Classifier) -> Gradient:
        """Stateful from one iteration to the next: what was compiled for this network shall serve again."""
        if self.last is None or self.last.network is not network:
            plain = Compiled if self.compiled else Gradient
            device = network.classifier.weight.device
            self.last = Carrying(network) if carries_statistics(network) else replayed(plain(network), device)
        return self.last

    def numbers(self, like: Tensor) -> dict[str, Tensor]:
        """Step sizes and, unless plain, momenta, (T,) or (); the graph leads to where the outer optimiser has them."""
        found = {"lr": self.rate(self.raw).to(like)}
        if self.raw_momenta is not None:
            return found | {"momentum": self.raw_momenta.exp().to(like)}
        return found if self.config.momentum is None else found | {"momentum": like.new_tensor(self.config.momentum)}

    def match(
        self, gradient: Gradient, start: Tensor, given: Batch, rows: Sequence[Tensor], judging: Mapping[int, Batch]
    ) -> Loss:
        """The loss of one student, its gradient taken up to the decoded set.

        Args:
            start: theta_0 (P,).
            given: the whole set, augmented, with the graph of what is learned.
            rows: addresses that each step sees.
            judging: t -> real images, and their labels (n,) as targets, on which theta_t is judged.
        """
        steps: Any = carried if isinstance(gradient, Carrying) else sweep
        numbers = self.numbers(start)
        outputs = given._asdict() | numbers
        leaves = {name: part.detach().requires_grad_(part.requires_grad) for name, part in outputs.items()}
        inputs = {name: part for name, part in leaves.items() if part.requires_grad}
        shown, own = Shown(Batch(leaves["images"], leaves["targets"]), rows), [leaves[name] for name in numbers]
        if self.config.gradient == "full":
            thetas = steps.through_graph(gradient, start, shown, *own)
            value = sum((gradient.loss(thetas[t], *real) for t, real in judging.items()), start.new_zeros(()))
            slopes = dict(zip(inputs, torch.autograd.grad(value, list(inputs.values())), strict=True))
        else:
            taken = steps.walk(gradient, start, shown, *own)
            value, pulls = start.new_zeros(()), {}
            for t, real in judging.items():
                theta = taken.thetas[t].detach().requires_grad_()
                loss = gradient.loss(theta, *real)
                value, pulls[t] = value + loss.detach(), torch.autograd.grad(loss, theta)[0]
            slopes = {name: torch.zeros_like(part) for name, part in inputs.items()}
            for t, found in zip(reversed(range(len(rows))), steps.backwards(taken, pulls), strict=True):
                for name, total in slopes.items():
                    if name in numbers:
                        total[t] = found[name]
                    else:
                        total.index_add_(0, rows[t], found[name])
        return Loss(value.detach(), [outputs[name] for name in inputs], list(slopes.values()))

    def groups(self) -> dict[str, list[Tensor]]:
        rates = {"rates": [self.raw]} if self.raw.requires_grad else {}
        return rates if self.raw_momenta is None else rates | {"momenta": [self.raw_momenta]}

    @torch.no_grad()
    def hints(self, synthetic: Synthetic) -> dict[str, Tensor]:
        if not self.config.replayed:
            return {}
        given = {name: own.expand(self.config.steps).contiguous() for name, own in self.numbers(self.raw).items()}
        if (count := self.config.blocks or 1) == 1:
            return given
        numbers = torch.empty(len(synthetic))
        for number, rows in enumerate(islice(synthetic.divided(count), count)):
            numbers[rows] = number
        return given | {"blocks": numbers}

    def state_dict(self) -> dict[str, Tensor]:
        own = {"rates": self.raw.detach()}
        own |= {} if self.raw_momenta is None else {"momenta": self.raw_momenta.detach()}
        return own | joined(self.parts())

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.raw.copy_(state["rates"])
        if self.raw_momenta is not None:
            self.raw_momenta.copy_(state["momenta"])
        load(self.parts(), state)

    def parts(self) -> dict[str, Stateful]:
        return {} if self.passes is None else {"real": self.passes}


def make(config: record.Unroll, context: Context) -> Unroll:
    varied = augmentation.make(config.augment, context.flip)
    return Unroll(config, context.real, context.real_batch, varied, context.compiled)
