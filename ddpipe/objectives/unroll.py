"""Training unrolled: DD (Wang et al., 2018), SLDD, RTP, GTN; survey Eq. 8-13.

A new student's training on the set shall leave it good on real images:

1. from fresh weights theta_0 take T steps of SGD on the set, each on its next block or on random examples of a class;
2. L = the mean cross-entropy of theta_T on a batch of real images;
3. descend in the set, and in the step sizes where they are learned, exactly through all steps.

The set is decoded and augmented once, before the steps. Backwards what the steps find for an example is added up on the
way (`ddpipe.training.sweep`): memory grows by a step's weights, not by its images. "full" differentiates one graph of
all steps. The student is in training mode throughout: batch norm takes each batch's own statistics.
"""

import math
from collections.abc import Iterator, Sequence
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
from ddpipe.errors import UserError
from ddpipe.networks import Classifier
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.settings.objectives import unroll as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Batch, Synthetic
from ddpipe.training.sweep import Compiled, Gradient, backwards, through_graph, walk

RATES = {  # of a raw number: the step size, and the raw number of a step size
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
    """The objective of DD, SLDD, RTP and GTN; may learn the step size of each step.

    Args:
        real_batch: real images of each class; not asked for where they come in passes.
        varied: augments the real batch alone.
    """

    def __init__(self, config: record.Unroll, real: Resident, real_batch: int, varied: Policy, compiled: bool = False):
        self.config, self.real_batch, self.varied, self.compiled = config, real_batch, varied, compiled
        self.rate, inverse = RATES[config.rates]
        learned = config.rates != "fixed"
        self.raw = torch.full((config.steps,), inverse(config.lr), requires_grad=learned)
        self.passes = None if config.batch is None else Passes(real, config.batch)
        self.kept: Gradient | None = None

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        assert student.network is not None, "the record accepts networks only"
        classes = self.task(len(synthetic.sizes), rng)
        rows = list(islice(self.shown(synthetic, classes, rng), self.config.steps))
        whole = synthetic.decode()
        draw = augment.draw(rng("augment"), 1, *whole.images.shape[-2:])
        images, labels = self.sample(real, classes, rng)
        images = self.varied(images, self.varied.draw(rng("real.augment"), len(images), *images.shape[-2:]))
        start = torch.cat([p.detach().flatten() for p in student.network.parameters()])
        whole = Batch(augment(whole.images, draw), whole.targets)
        yield self.match(self.gradient(student.network), start, whole, rows, Batch(augment(images, draw), labels))

    def task(self, classes: int, rng: Streams) -> Tensor:
        """The classes that this iteration is about, ascending."""
        if (count := self.config.classes or classes) >= classes:
            return torch.arange(classes)
        return torch.randperm(classes, generator=rng("task"))[:count].sort().values

    def shown(self, synthetic: Synthetic, classes: Tensor, rng: Streams) -> Iterator[Tensor]:
        """Addresses of what each step sees, of these classes alone."""
        if self.config.examples is None:
            steps = self.blocks(synthetic)
        else:
            steps = synthetic.balanced(rng("synthetic.balanced"), self.config.examples)
        every, own = len(classes) == len(synthetic.sizes), synthetic.classes.cpu()
        for rows in steps:
            chosen = rows if every else rows[torch.isin(own[rows], classes)]
            yield chosen.to(synthetic.classes.device)

    def blocks(self, synthetic: Synthetic) -> Iterator[Tensor]:
        """The set's blocks over and over.

        Raises:
            UserError: it does not divide into so many.
        """
        count, most = self.config.blocks or 1, max(synthetic.sizes)
        if most % count:
            raise UserError(
                f"objective.blocks: {most} examples of a class do not divide into {count} blocks; set it to "
                f"{max(n for n in range(1, count) if most % n == 0)}"
            )
        return synthetic.blocks(most // count)

    def sample(self, real: Resident, classes: Tensor, rng: Streams) -> tuple[Tensor, Tensor]:
        """Real images (n, c, h, w) and their labels (n,)."""
        if self.passes is not None:
            return self.passes.next(rng("real"))
        rows = torch.cat([real.sample_index(label, self.real_batch, rng("real")) for label in classes.tolist()])
        return real.batch(rows), real.labels[rows.to(real.labels.device)]

    def gradient(self, network: Classifier) -> Gradient:
        """Kept from one iteration to the next: what was compiled for this network shall serve again."""
        if self.kept is None or self.kept.network is not network:
            self.kept = Compiled(network) if self.compiled else Gradient(network)
        return self.kept

    def match(self, gradient: Gradient, start: Tensor, given: Batch, rows: Sequence[Tensor], real: Batch) -> Loss:
        """The loss of one student, its gradient taken up to the decoded set.

        Args:
            start: theta_0 (P,).
            given: the whole set, augmented, with the graph of what is learned.
            rows: addresses that each step sees.
            real: real images, and their labels (n,) as targets.
        """
        lr = self.rate(self.raw).to(start)  # with its graph: the raw numbers stay where the outer optimiser has them
        momentum = None if self.config.momentum is None else start.new_tensor(self.config.momentum)
        whole = Batch(*(part.detach().requires_grad_(part.requires_grad) for part in given))
        rate = lr.detach().requires_grad_(lr.requires_grad)
        inputs = {"images": whole.images, "targets": whole.targets, "lr": rate}
        inputs = {name: part for name, part in inputs.items() if part.requires_grad}
        shown = Shown(whole, rows)
        if self.config.gradient == "full":
            value = gradient.loss(through_graph(gradient, start, shown, rate, momentum)[-1], *real)
            slopes = dict(zip(inputs, torch.autograd.grad(value, list(inputs.values())), strict=True))
        else:
            taken = walk(gradient, start, shown, rate, momentum)
            end = taken.thetas[-1].requires_grad_()
            value = gradient.loss(end, *real)
            pulls = {len(rows): torch.autograd.grad(value, end)[0]}
            slopes = {name: torch.zeros_like(part) for name, part in inputs.items()}
            for t, found in zip(reversed(range(len(rows))), backwards(taken, pulls), strict=True):
                for name, total in slopes.items():
                    if name == "lr":
                        total[t] = found[name]
                    else:
                        total.index_add_(0, rows[t], found[name])
        outputs = {"images": given.images, "targets": given.targets, "lr": lr}
        return Loss(value.detach(), [outputs[name] for name in inputs], list(slopes.values()))

    def groups(self) -> dict[str, list[Tensor]]:
        return {"rates": [self.raw]} if self.raw.requires_grad else {}

    @torch.no_grad()
    def hints(self, synthetic: Synthetic) -> dict[str, Tensor]:
        if not self.config.replayed:
            return {}
        given = {"lr": self.rate(self.raw)}
        if (count := self.config.blocks or 1) == 1:
            return given
        numbers = torch.empty(len(synthetic))
        for number, rows in enumerate(islice(self.blocks(synthetic), count)):
            numbers[rows] = number
        return given | {"blocks": numbers}

    def state_dict(self) -> dict[str, Tensor]:
        passes = {} if self.passes is None else self.passes.state_dict()
        return {"rates": self.raw.detach()} | {f"real.{name}": value for name, value in passes.items()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.raw.copy_(state["rates"])
        if self.passes is not None:
            own = {name: value for name, value in state.items() if name.startswith("real.")}
            self.passes.load_state_dict({name.removeprefix("real."): value for name, value in own.items()})


def make(config: record.Unroll, context: Context) -> Unroll:
    varied = augmentation.make(config.augment, context.flip)
    return Unroll(config, context.real, context.real_batch, varied, context.compiled)
