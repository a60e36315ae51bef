"""Alignment of the features of all layers: CAFE (Wang et al., CVPR 2022); survey Eq. 32-34.

In every layer of a network the synthetic images of a class shall have the mean of the real ones, and the synthetic
means shall tell the real images' classes:

1. for every class: draw a real batch and, for CAFE+DSA, one augmentation shared by the real and the synthetic images;
2. the maps of both behind every nonlinearity and the embedding behind them, the real side without a graph;
3. features: the squared distance of the two means of a class, summed over entries, classes and, weighted, layers;
4. discrimination: the cross-entropy of softmax(F M^T) against the real images' classes, summed over these, where F
   holds their embeddings and M the classes' synthetic mean embeddings;
5. descend in 3 + weight x 4.

The survey's Eq. 32 has no class means and no weights, and its Eq. 34 lacks the minus sign: descending in the sum of log
probabilities would drive the classes together. The official total also has the network's own cross-entropy on the real
batch, which does not depend on the set; the way back through the real batch that it costs is not made here.

The centres of all classes meet in 4, but the graph of all images need not be held: with v the derivative of 4 by a
class's centre m, the images' gradient is that of <m, v>, which needs the graph of that class alone. So a set larger
than a chunk is embedded once without a graph, for the centres, and then class by class with one.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.augmentation import Policy
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.networks import Classifier, has_batch_norm
from ddpipe.objectives.distribution import class_means, embedded_means, mean_distance
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.sending import sent
from ddpipe.settings.objectives import features as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic


def layer_means(network: Classifier, classes: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """(K, F) means in every map of K classes, whose images (n, c, h, w) go through the network in one batch, the
    embedding's last; and the embeddings themselves, (N, F)."""
    sizes, means = [len(images) for images in classes], []
    for found in network.maps(torch.cat(list(classes))):
        means.append(class_means(found.flatten(1), sizes))
    return means, found


def discrimination(centres: Tensor, embedded: Tensor, labels: Tensor) -> Tensor:
    """Minus survey Eq. 34 times N: what the classes' centres (K, F) make of embeddings (N, F) of `labels` (N,)."""
    return F.cross_entropy(embedded @ centres.T, labels, reduction="sum")


class FeatureAlignment(Objective):
    """The objective of CAFE."""

    def __init__(self, config: record.FeatureAlignment, real_batch: int):
        self.config, self.real_batch = config, real_batch

    def losses(
        self, synthetic: Synthetic, student: Student, real: Resident, augment: Policy, rng: Streams
    ) -> Iterator[Loss]:
        network, sizes = student.network, synthetic.sizes
        assert network is not None, "the record accepts networks only"
        images = synthetic.decode().images  # (V, c, h, w), class by class
        draws = [augment.draw(rng("augment"), 1, *images.shape[-2:]) for _ in sizes]
        blocks = [block.requires_grad_() for block in images.detach().split(sizes)]
        theirs, embedded, labels = self.real_side(network, real, augment, draws, rng)

        def mine(classes: Tensor) -> list[Tensor]:
            return [augment(blocks[label], draws[label]) for label in classes.tolist()]

        parts = self.parts(network, len(sizes), max(sizes))
        held = layer_means(network, mine(parts[0]))[0] if len(parts) == 1 else None
        with torch.no_grad():
            centres = held[-1] if held else torch.cat([embedded_means(network, mine(part)) for part in parts])
        centres = centres.detach().requires_grad_()
        value = self.config.discrimination * discrimination(centres, embedded, labels)
        (along,) = torch.autograd.grad(value, centres)  # (K, F)
        gradients: list[Tensor] = []
        for part in parts:
            here = sent(part, along.device)
            means = held or layer_means(network, mine(part))[0]
            apart = self.distance(means, [layer[here] for layer in theirs])
            leaves = [blocks[label] for label in part.tolist()]
            both = torch.ones_like(apart), along[here]
            gradients += torch.autograd.grad((apart, means[-1]), leaves, both)
            value = value + apart
        yield Loss(value.detach(), images, torch.cat(gradients))

    def parts(self, network: Classifier, classes: int, images: int) -> tuple[Tensor, ...]:
        """Classes that go through the network in one batch, of so many images each."""
        return torch.arange(classes).split(classes if has_batch_norm(network) else max(1, self.config.chunk // images))

    @torch.no_grad()
    def real_side(
        self, network: Classifier, real: Resident, augment: Policy, draws: Sequence, rng: Streams
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """(K, F) means in every map; all embeddings (N, F); their labels (N,)."""
        means, embedded, counts = [], [], []
        for part in self.parts(network, len(draws), self.real_batch):
            rows = [real.sample_index(label, self.real_batch, rng("real")) for label in part.tolist()]
            batches = real.batch(torch.cat(rows)).split([len(own) for own in rows])
            changed = [augment(own, draws[label]) for own, label in zip(batches, part.tolist(), strict=True)]
            own, features = layer_means(network, changed)
            means.append(own)
            embedded.append(features)
            counts += [len(own) for own in rows]
        labels = torch.arange(len(draws)).repeat_interleave(torch.tensor(counts))
        return (
            [torch.cat(layer) for layer in zip(*means, strict=True)],
            torch.cat(embedded),
            sent(labels, features.device),
        )

    def distance(self, mine: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
        """The weighted sum over layers, and the sum over classes, of the squared distances of means (K, F) each."""
        config = self.config
        weights = [*[config.earlier] * (len(mine) - 2), config.last, config.embedding]
        apart = [w * mean_distance(a, b).sum() for w, a, b in zip(weights, mine, theirs, strict=True)]
        return torch.stack(apart).sum()


def make(config: record.FeatureAlignment, context: Context) -> FeatureAlignment:
    return FeatureAlignment(config, context.real_batch)
