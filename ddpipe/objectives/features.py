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
from ddpipe.networks import Classifier
from ddpipe.objectives.distribution import class_means, embedded_means, mean_distance
from ddpipe.objectives.lineup import Lineup, joined, sharing
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams
from ddpipe.settings.objectives import features as record
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic


def layer_means(network: Classifier, images: Tensor, sizes: Sequence[int]) -> tuple[list[Tensor], Tensor]:
    """(K, F) means in every map of K classes, whose images (n, c, h, w) of so many each go through the network at once,
    the embedding's last; and the embeddings themselves, (N, F)."""
    means = []
    for found in network.maps(images):
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
        rows = [real.sample_index(label, self.real_batch, rng("real")) for label in range(len(sizes))]
        line = Lineup(augment, draws, rows, sizes, real)
        theirs, embedded = self.real_side(network, line)

        def mine(leaf: Tensor, first: int, stop: int) -> list[Tensor]:
            return layer_means(network, line.changed(leaf, first, stop), line.sizes[first:stop])[0]

        shown = line.arranged(images.detach())
        parts = line.parts(sharing(network, max(sizes), images, self.config.chunk))
        leaves = [shown[line.span(*part)].requires_grad_() for part in parts]
        held = mine(leaves[0], *parts[0]) if len(parts) == 1 else None
        with torch.no_grad():
            if held is None:
                found = [
                    embedded_means(network, line.changed(leaf, *part), line.sizes[slice(*part)])
                    for leaf, part in zip(leaves, parts, strict=True)
                ]
            centres = held[-1] if held else torch.cat(found)
        centres = centres.detach().requires_grad_()
        value = self.config.discrimination * discrimination(centres, embedded, line.answers)
        (along,) = torch.autograd.grad(value, centres)  # (K, F)
        gradients: list[Tensor] = []
        for leaf, part in zip(leaves, parts, strict=True):
            means = held or mine(leaf, *part)
            apart = self.distance(means, [layer[slice(*part)] for layer in theirs])
            gradients += torch.autograd.grad((apart, means[-1]), leaf, (torch.ones_like(apart), along[slice(*part)]))
            value = value + apart
        yield Loss(value.detach(), images, line.returned(joined(gradients)))

    @torch.no_grad()
    def real_side(self, network: Classifier, line: Lineup) -> tuple[list[Tensor], Tensor]:
        """(K, F) means in every map, place by place; all embeddings (N, F)."""
        means, embedded = [], []
        for first, stop in line.parts(sharing(network, self.real_batch, line.data.images, self.config.chunk)):
            own, features = layer_means(network, line.real_images(first, stop), line.real[first:stop])
            means.append(own)
            embedded.append(features)
        return [torch.cat(layer) for layer in zip(*means, strict=True)], torch.cat(embedded)

    def distance(self, mine: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
        """The weighted sum over layers, and the sum over classes, of the squared distances of means (K, F) each."""
        config = self.config
        weights = [*[config.earlier] * (len(mine) - 2), config.last, config.embedding]
        apart = [w * mean_distance(a, b).sum() for w, a, b in zip(weights, mine, theirs, strict=True)]
        return torch.stack(apart).sum()


def make(config: record.FeatureAlignment, context: Context) -> FeatureAlignment:
    return FeatureAlignment(config, context.real_batch)
