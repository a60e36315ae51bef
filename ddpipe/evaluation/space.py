"""Where the images of a set lie among real ones in the features of a network: a number, and two planes to look at.

Coverage is that of Naeem et al. (Reliable fidelity and diversity metrics for generative models, ICML 2020, equation 6):
the share of real images in whose ball, which reaches to the k-th nearest other real image, lies a synthetic one. They
take k = 5 for as many synthetic images as real ones. A distilled set has far fewer, so here k is the least for which as
many independent draws of real images as its budget allows are expected to cover half; their lemma 2 tells which. The
random selection beside it has as many of each class, and so covers more.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ddpipe.errors import UserError

HALF = 0.5  # of the real images: what a random selection of the budget is expected to cover at least
REFERENCE = 10_000  # real images that may be covered, at most
LOOKED_AT = 300  # real images in the planes, about
SHOWN = 10  # images of a class in the planes, of the set and of the random selection
BLOCK = 1024  # rows of a matrix of distances
PERPLEXITY = 30.0


@dataclass(frozen=True)
class Rows:
    """Row numbers of training images: those to be covered, those of them to look at, and a random selection."""

    reference: Tensor
    looked_at: Tensor
    drawn: Tensor


def rows(labels: Tensor, classes: int, ipc: int, rng: torch.Generator) -> Rows:
    """`ipc` random images of each class are the selection; of all the others so many are taken as there is room for."""
    most, seen = max(1, REFERENCE // classes), max(2, min(30, LOOKED_AT // classes))
    orders = []
    for label in range(classes):
        own = (labels == label).nonzero().flatten()
        orders.append(own[torch.randperm(len(own), generator=rng)])
    drawn, left = [own[:ipc] for own in orders], [own[ipc : ipc + most] for own in orders]
    return Rows(torch.cat(left), torch.cat([own[:seen] for own in left]), torch.cat(drawn))


def neighbours(reference: int, drawn: int) -> int:
    """The least k with `expected` of at least HALF.

    Raises:
        UserError: there are no other real images than those that were drawn.
    """
    for k in range(1, reference):
        if expected(reference, drawn, k) >= HALF:
            return k
    raise UserError(f"coverage: {reference} real images are left beside a selection of {drawn}; a set must be smaller")


def expected(reference: int, drawn: int, k: int) -> float:
    """Mean coverage of N real images by M others of their distribution: 1 - prod_{i=1..k} (N - i) / (N + M - i).

    None covers an image exactly if its k nearest among all are real (Naeem et al. 2020, lemma 2).
    """
    missed = 1.0
    for i in range(1, k + 1):
        missed *= (reference - i) / (reference + drawn - i)
    return 1 - missed


def coverage(real: Tensor, shown: Tensor, k: int) -> float:
    """Share of the rows of `real` (N, F) to which one of `shown` (V, F) is no farther than their k-th nearest other."""
    real, shown = real.double(), shown.double()
    covered = 0
    for first in range(0, len(real), BLOCK):
        block = real[first : first + BLOCK]
        among = squared(block, real)
        among[torch.arange(len(block)), torch.arange(first, first + len(block))] = torch.inf  # itself
        radius = among.kthvalue(k, 1).values
        covered += int((squared(block, shown).amin(1) <= radius).sum())
    return covered / len(real)


def squared(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances (n, m) of the rows (n, F) and (m, F)."""
    return ((x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T).clamp(min=0)


def principal(real: Tensor, others: list[Tensor]) -> tuple[list[Tensor], tuple[float, float]]:
    """`others`, each (n, F), in the plane (n, 2) of the two principal components of `real` (N, F).

    Also the share of the variance of `real` along each.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # or the bits depend on the number of threads
        fitted = PCA(2, svd_solver="full").fit(real.double().numpy())
        first, second = map(float, fitted.explained_variance_ratio_)
        return [torch.from_numpy(fitted.transform(own.double().numpy())) for own in others], (first, second)


def neighbourly(groups: list[Tensor], rng: torch.Generator) -> list[Tensor]:
    """All rows of `groups`, each (n, F), in one t-SNE (van der Maaten and Hinton 2008): where each lies, (n, 2)."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    points = torch.cat(groups).double()
    seed = int(torch.randint(2**31 - 1, (), generator=rng))
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    with threadpool_limits(1):
        placed = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(points.numpy())
    return list(torch.from_numpy(placed).split([len(group) for group in groups]))
