"""How long a network serves and how long it learns between two iterations: so many times, or until a rule ends it.

CAFE's rule (Wang et al., CVPR 2022) looks at a network's last accuracies on fresh real images. One after every
iteration: once the last `window` of them lie close together the network has nothing more to say, and goes. One after
every pass of its training between two iterations: once the last `window` lie far apart it has moved, and serves again.
Either loop may never end by itself, so both end at the latest with the numbers of the loops, and how often is counted.

While a window of passes is not yet full and already has two accuracies far enough apart, nothing that is measured can
change what happens: the images are drawn, so that later draws stay what they are, but not looked at.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ddpipe.datasets.resident import Resident
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.sending import sent
from ddpipe.settings.students.trained import TrainedStudents
from ddpipe.training.loop import accuracy

# Looked at together: their maps stay in a processor's cache, which halves the time there. As many numbers as small
# images hold, so that those are not many small calls; images at the least.
NUMBERS, IMAGES = 2**17, 128


def spread(accuracies: Sequence[float]) -> float:
    """The largest less the smallest; of none 0."""
    return max(accuracies, default=0.0) - min(accuracies, default=0.0)


class Lifetime:
    """Where a network is in its life, and what became of those before it.

    Args:
        real: whose images a rule looks at; not needed without one.
    """

    def __init__(self, config: TrainedStudents, real: Resident | None = None):
        self.config, self.rule, self.real = config, config.until, real
        self.number = -1  # of the networks before the present one
        self.served, self.passes = 0, 0  # iterations and passes of the present network
        self.seen: list[float] = []  # its last accuracies, one an iteration
        self.capped = 0  # networks that their rule did not end
        self.trainings, self.unmoved = 0, 0  # between iterations, of all networks; those that the rule did not end

    def over(self, network: Classifier, rng: Streams) -> bool:
        """Before an iteration: whether it is another network's. Looks at the present one, if a rule does."""
        if self.served == 0:
            return True
        last = self.served == self.config.outer_loop
        if self.rule is None:
            return last
        self.seen = [*self.seen, self.measured(network, self.rows(rng))][-self.rule.window :]
        settled = len(self.seen) == self.rule.window and spread(self.seen) < self.rule.settled
        self.capped += last and not settled
        return last or settled

    def begin(self) -> None:
        """Another network takes the place of the present one."""
        self.number += 1
        self.served, self.passes, self.seen = 0, 0, []

    def training(self, network: Classifier, rng: Streams) -> Iterator[int]:
        """The numbers of the passes that the network is now to learn, each to be made before the next is asked for."""
        most = self.config.passes(self.served) - self.config.passes(self.served - 1)
        seen: list[float] = []
        for count in range(1, most + 1):
            yield self.passes
            self.passes += 1
            if self.rule is None:
                continue
            rows = self.rows(rng)
            if spread(seen) <= self.rule.moved:
                seen = [*seen, self.measured(network, rows)][-self.rule.window :]
            if count >= self.rule.window and spread(seen) > self.rule.moved:
                break
        else:
            self.unmoved += self.rule is not None
        self.trainings += 1

    def rows(self, rng: Streams) -> Tensor:
        """(n,) of fresh real images, as many of every class."""
        assert self.rule is not None and self.real is not None, "`make` gives them to those that have a rule"
        draw, classes = rng("students.probe"), range(len(self.real.class_index))
        return torch.cat([self.real.sample_index(label, self.rule.probe, draw) for label in classes])

    def measured(self, network: Classifier, rows: Tensor) -> float:
        """The share of these real images, not augmented, that the network gets right."""
        real = self.real
        assert real is not None
        labels = real.labels[sent(rows, real.labels.device)]
        at_once = max(IMAGES, NUMBERS // real.images[0].numel())
        found = accuracy(network, lambda index: real.batch(rows[index]), labels, at_once)
        network.train()
        return found / 100

    def hints(self) -> dict[str, Tensor]:
        """How many networks ended and trainings there were, and how many of them were ended by their cap."""
        if self.rule is None:
            return {}
        counts = {"networks": self.number, "networks_capped": self.capped}
        counts |= {"trainings": self.trainings, "trainings_capped": self.unmoved}
        return {name: torch.tensor(float(count)) for name, count in counts.items()}

    def state_dict(self) -> dict[str, Tensor]:
        counts = [self.number, self.served, self.passes, self.capped, self.trainings, self.unmoved]
        return {"counts": torch.tensor(counts), "seen": torch.tensor(self.seen, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.number, self.served, self.passes, self.capped, self.trainings, self.unmoved = state["counts"].tolist()
        self.seen = state["seen"].tolist()
