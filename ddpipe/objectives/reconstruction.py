"""Every example of the set shall look like one real image of its class: the warm start of KFS (designed here).

Which image belongs to which example is drawn once, before the first step. Nothing is augmented and no network asked;
the loss is the mean squared error over all numbers of the images.
"""

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.settings.objectives import reconstruction as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic
from ddpipe.training.batch import chunks


class Reconstruction(Objective):
    def __init__(self, config: record.Reconstruction):
        self.batch = config.batch
        self.rows: Tensor | None = None  # (V,) of the real images

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        if self.rows is None:
            self.rows = assigned(real, synthetic.sizes, rng("objective.init"))
        index = None if self.batch is None else next(synthetic.balanced(rng("synthetic.batches"), self.batch))
        rows = self.rows if index is None else self.rows[index]
        error = (synthetic.decode(index).images - real.batch(rows)).square().mean()
        yield Loss(error.detach(), error)

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.rows is None else {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.rows = state.get("rows")


def assigned(real: Resident, sizes: list[int], rng: torch.Generator) -> Tensor:
    """Rows (V,) of real images for `sizes` examples of each class: none twice before all of a class were taken."""
    rows = []
    for own, size in zip(real.class_index, sizes, strict=True):
        orders = islice(chunks(len(own), None, rng), -(-size // len(own)))
        rows.append(own[torch.cat(list(orders))[:size]])
    return torch.cat(rows)


def make(config: record.Reconstruction, context: Context) -> Reconstruction:
    return Reconstruction(config)
