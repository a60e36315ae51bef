"""KFS as the plain program one would write without the pipeline's parts: modules and optimisers of torch.

Nothing of the method is published but its idea, so there is no golden case: this is the design in straight lines.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.randomness import Streams, generator
from tests.contexts import context
from tests.reference.distribution import dm_loss_and_gradient
from tests.reference.program import STRATEGY, Scene

RATES = (0.02, 0.005)  # of codes and of decoders
SIZES = {  # by the images' side: of the cells of digits, IPC 10, and of MNIST, IPC 1
    8: {"codes": 31, "channels": 4, "side": 2, "decoders": 4, "width": 4},
    28: {"codes": 9, "channels": 4, "side": 4, "decoders": 3, "width": 4},
}


class Pool:
    """Two experts with the weights of three epochs each."""

    def __init__(self, scene: Scene):
        count = sum(p.numel() for p in scene.network().parameters())
        self.weights = torch.randn(2, 3, count, generator=generator("pool")) / 3

    def __len__(self) -> int:
        return len(self.weights)

    def snapshot(self, expert: int, epoch: int) -> Tensor:
        return self.weights[expert, epoch]


def composed(
    scene: Scene, iterations: int, sizes: dict[str, int] | None = None, batch: int | None = 16, warm: int = 0
) -> Distillation:
    sizes = sizes or SIZES[scene.side]
    rates = {key: {"optimizer": "adam", "lr": lr} for key, lr in zip(("codes", "decoders"), RATES, strict=True)}
    chosen = settings.Distillation.model_validate(
        {
            "synthetic": {"name": "decoder"} | sizes,
            "objective": {"name": "distribution", "batch": batch},
            "students": {"name": "trained", "start": {"epochs": [1, 2], "perturbed": None}},
            "augment": STRATEGY,
            "outer": rates,
            "warm": {"objective": {"name": "reconstruction"}, "iterations": warm} if warm else None,
            "iterations": iterations,
            "real_batch": scene.real_batch,
            "excess": True,
        }
    )
    pool, draw = Pool(scene), Streams("program")
    made = context(scene.real(), scene.ipc, scene.network(), draw, False, scene.real_batch, pool)  # type: ignore[arg-type]
    return compose(chosen, made)


def straight(
    scene: Scene, sizes: dict[str, int] | None = None, batch: int | None = 16, warm: int = 0
) -> Iterator[Callable[[], Tensor]]:
    """Yields what gives all images, after every update of them, for ever."""
    sizes = sizes or SIZES[scene.side]
    pool, real, draw, policy = Pool(scene), scene.real(), Streams("program"), Augment(STRATEGY)
    classes, side, each = scene.num_classes, sizes["side"], sizes["codes"] * sizes["decoders"]
    codes = 0.5 * torch.randn(classes * sizes["codes"], sizes["channels"], side, side, generator=draw("synthetic.init"))
    depth = max(2, (-(-scene.side // side) - 1).bit_length())
    layers = []
    for before, after in pairwise([sizes["channels"], *[sizes["width"]] * (depth - 1), 1]):
        shapes = (sizes["decoders"], before, after, 4, 4), (sizes["decoders"], after)
        bound = (16 * after) ** -0.5
        layers.append([torch.empty(s).uniform_(-1, 1, generator=draw("synthetic.init")) * bound for s in shapes])
    decoders = [decoder([(weight[k], bias[k]) for weight, bias in layers]) for k in range(sizes["decoders"])]

    def sampled() -> tuple[list[Tensor], Tensor]:
        rows = torch.arange(classes * each).view(classes, each)
        if batch is not None:
            rows = torch.stack([own[torch.randperm(each, generator=draw("synthetic.batches"))[:batch]] for own in rows])
        return [real.sample(label, scene.real_batch, draw("real")) for label in range(classes)], rows.flatten()

    def weights() -> Tensor:
        expert = int(torch.randint(2, (), generator=draw("students.start")))
        return pool.snapshot(expert, int(torch.randint(1, 3, (), generator=draw("students.start"))))

    def augment() -> tuple[Augment, list]:
        return policy, [policy.draw(draw("augment"), 1, scene.side, scene.side) for _ in range(classes)]

    def assigned() -> Tensor:  # fewer than a class has
        return real.batch(torch.cat([real.sample_index(k, each, draw("objective.init")) for k in range(classes)]))

    network, like = scene.network().train(), assigned() if warm else codes
    yield from kfs(codes, decoders, scene.side, classes, RATES, like, warm, sampled, network, weights, augment)


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
) -> Iterator[Callable[[], Tensor]]:
    """Yields what gives all images, code by code through every decoder, after each update, for ever.

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
        yield images
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
        yield images
