"""Distribution matching: DM (Zhao and Bilen, WACV 2023); survey section 4.3, Eq. 31.

In the embedding of a random network the synthetic images of a class shall have the mean of the real ones:

1. for every class: draw a real batch and one augmentation shared by the real and the synthetic images;
2. embed both, the real side without a graph;
3. descend in the sum over classes of the squared distance of the two means.

The survey speaks of pretrained extractors; the official code and the paper's default use fresh random networks, and so
does the recipe. Networks without batch norm treat images one by one, so classes are embedded together in chunks of
any size; with batch norm all classes must share one batch, or the statistics would give the class away. Of a set of
many images a random `batch` of each class can stand for all: their mean is that of all on average (KFS).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.networks import Classifier
from ddpipe.objectives.lineup import Lineup, joined, sharing
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.settings.objectives import distribution as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic


def class_means(features: Tensor, sizes: Sequence[int]) -> Tensor:
    """(K, F) means of consecutive blocks of `sizes` rows of `features` (n, F)."""
    if len(set(sizes)) == 1:  # the usual case needs no loop over classes
        return features.unflatten(0, (len(sizes), -1)).mean(1)
    return torch.stack([block.mean(0) for block in features.split(list(sizes))])


def mean_distance(synthetic: Tensor, real: Tensor) -> Tensor:
    """(K,) squared Euclidean distances between class means (K, F); DM's loss is their sum."""
    return (synthetic - real).square().sum(1)


class DistributionMatching(Objective):
    """The objective of DM."""

    def __init__(self, config: record.DistributionMatching, real_batch: int):
        self.chunk, self.batch, self.real_batch = config.chunk, config.batch, real_batch

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        network, sizes, index = student.network, synthetic.sizes, None
        assert network is not None, "the record accepts networks only"
        if self.batch is not None:
            sizes = [min(self.batch, size) for size in sizes]
            index = next(synthetic.balanced(rng("synthetic.batches"), self.batch))
        images = synthetic.decode(index).images  # (V, c, h, w), class by class
        draws = [augment.draw(rng("augment"), 1, *images.shape[-2:]) for _ in sizes]
        rows = [real.sample_index(label, self.real_batch, rng("real")) for label in range(len(sizes))]
        line = Lineup(augment, draws, rows, sizes, real)
        shown = line.arranged(images.detach())
        together = sharing(network, self.real_batch + max(sizes), images, self.chunk)
        gradients: list[Tensor] = []
        distances: list[Tensor] = []
        for first, stop in line.parts(together):
            leaf = shown[line.span(first, stop)].requires_grad_()
            with torch.no_grad():
                wanted = embedded_means(network, line.real_images(first, stop), line.real[first:stop])
            given = embedded_means(network, line.changed(leaf, first, stop), line.sizes[first:stop])
            distances.append(mean_distance(given, wanted))
            gradients += torch.autograd.grad(distances[-1].sum(), leaf)
        yield Loss(torch.cat(distances).detach().sum(), images, line.returned(joined(gradients)))


def embedded_means(network: Classifier, images: Tensor, sizes: Sequence[int]) -> Tensor:
    """(K, F) mean embeddings of K classes, whose images (n, c, h, w) of so many each go through the network at once."""
    return class_means(network.embed(images), sizes)


def make(config: record.DistributionMatching, context: Context) -> DistributionMatching:
    return DistributionMatching(config, context.real_batch)
