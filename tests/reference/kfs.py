"""KFS as the plain program one would write without the pipeline's parts: modules and optimisers of torch.

Nothing of the method is published but its idea, so there is no golden case: this is the design in straight lines.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters

from tests.reference.distribution import dm_loss_and_gradient


def decoder(layers: Sequence[tuple[Tensor, Tensor]]) -> nn.Sequential:
    """Transposed convolutions with these weights (i, o, 4, 4) and biases (o,), ReLUs between them."""
    modules: list[nn.Module] = []
    for weight, bias in layers:
        module = nn.ConvTranspose2d(*weight.shape[:2], 4, stride=2, padding=1)
        module.load_state_dict({"weight": weight, "bias": bias})
        modules += [nn.ReLU(), module]
    return nn.Sequential(*modules[1:])


def cut(images: Tensor, side: int) -> Tensor:
    """The middle of square images."""
    left = (images.shape[-1] - side) // 2
    return images[:, :, left : left + side, left : left + side]


def kfs(
    codes: Tensor,
    decoders: Sequence[nn.Sequential],
    side: int,
    classes: int,
    rates: tuple[float, float],
    assigned: Tensor,
    warm: int,
    sampled: Callable[[], tuple[list[Tensor], Tensor]],
    network: nn.Module,
    weights: Callable[[], Tensor],
    augment: Callable[[], tuple[Callable, list]],
) -> Iterator[Tensor]:
    """Yields all images, code by code through every decoder, after each update of codes and decoders, for ever.

    Args:
        codes: (B, z, s, s), class by class.
        rates: Adam's, of codes and of decoders.
        assigned: (B * D, c, h, w), the real image that each is told to look like for `warm` updates.
        sampled: gives real batches, one a class, and the rows of the images that take part, as many of each class.
        weights: gives those of the next network, flat.
        augment: gives an augmentation and its draws, one a class.
    """
    learned = nn.Parameter(codes.clone())

    def images() -> Tensor:
        through = [cut(one(learned), side) for one in decoders]  # D times B c h w
        return torch.stack(through, 1).flatten(0, 1)

    def optimizer() -> torch.optim.Adam:
        own = [p for one in decoders for p in one.parameters()]
        return torch.optim.Adam([{"params": [learned], "lr": rates[0]}, {"params": own, "lr": rates[1]}])

    adam = optimizer()
    for _ in range(warm):
        adam.zero_grad()
        F.mse_loss(images(), assigned).backward()
        adam.step()
        yield images().detach()
    adam = optimizer()
    while True:
        vector_to_parameters(weights(), network.parameters())
        real, rows = sampled()
        whole = images()
        change, draws = augment()
        _, gradient = dm_loss_and_gradient(network, real, whole[rows], len(rows) // classes, change, draws)
        adam.zero_grad()
        whole[rows].backward(gradient)
        adam.step()
        yield images().detach()
