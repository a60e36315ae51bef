"""Distribution matching: DM (Zhao and Bilen, WACV 2023); survey section 4.3, Eq. 31.

In the embedding of a random network the synthetic images of a class shall have the mean of the real ones:

1. for every class: draw a real batch and one augmentation shared by the real and the synthetic images;
2. embed both, the real side without a graph;
3. descend in the sum over classes of the squared distance of the two means.

The survey speaks of pretrained extractors; the official code and the paper's default use fresh random networks, and so
does the recipe. Networks without batch norm treat images one by one, so classes are embedded together in chunks of
any size; with batch norm all classes must share one batch, or the statistics would give the class away.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.augment import Policy
from ddpipe.datasets.resident import Resident
from ddpipe.networks import has_batch_norm
from ddpipe.outer import Loss
from ddpipe.randomness import Streams
from ddpipe.students.student import Student
from ddpipe.synthetic import Pixels


def class_means(features: Tensor, sizes: Sequence[int]) -> Tensor:
    """(K, F) means of consecutive blocks of `sizes` rows of `features` (n, F)."""
    return torch.stack([block.mean(0) for block in features.split(list(sizes))])


def mean_distance(synthetic: Tensor, real: Tensor) -> Tensor:
    """(K,) squared Euclidean distances between class means (K, F); DM's loss is their sum."""
    return (synthetic - real).square().sum(1)


class DistributionMatching:
    """The objective of DM."""

    accepts = frozenset({"network"})

    def __init__(self, config: settings.DistributionMatching, real_batch: int):
        self.chunk, self.real_batch = config.chunk, real_batch

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        pass

    def losses(
        self, synthetic: Pixels, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        network, labels = student.network, torch.arange(synthetic.num_classes)
        together = len(labels) if has_batch_norm(network) else max(1, self.chunk // self.real_batch)
        images = synthetic.decode().images  # (V, c, h, w)
        gradient, total = torch.zeros_like(images), images.new_zeros(())
        for some in labels.split(together):
            addresses = [synthetic.addresses(label) for label in some.tolist()]
            leaf = images[torch.cat(addresses)].detach().requires_grad_()
            mine, theirs = [], []  # per class, augmented
            for label, part in zip(some.tolist(), leaf.split([len(a) for a in addresses]), strict=True):
                draw = augment.draw(rng("augment"), 1, *images.shape[-2:])
                theirs.append(augment(real.sample(label, self.real_batch, rng("real")), draw))
                mine.append(augment(part, draw))
            with torch.no_grad():
                wanted = class_means(network.embed(torch.cat(theirs)), [len(x) for x in theirs])
            given = class_means(network.embed(torch.cat(mine)), [len(x) for x in mine])
            distance = mean_distance(given, wanted).sum()
            gradient[torch.cat(addresses)] = torch.autograd.grad(distance, leaf)[0]
            total += distance.detach()
        yield Loss(total, (images * gradient).sum())
