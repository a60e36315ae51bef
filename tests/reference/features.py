"""CAFE as one straight function and one straight program, for comparison with the composed pipeline.

Wang et al., CVPR 2022. The loss uses nothing of the pipeline but the network's layers; the program shares with it the
network's initialisation, the augmentations and the generators. It measures after every epoch, as the paper has it.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ddpipe import networks, settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.randomness import Streams
from tests.reference.program import MOMENTUM, STRATEGY, STUDENT_LR, Scene, one_pass

LR = 0.1
FULL = {"window": 5, "probe": 32, "settled": 1e-9, "moved": 1.0}  # no loop of five ends before its number


def composed(scene: Scene, iterations: int, strategy: str = STRATEGY, rule: dict = FULL) -> Distillation:
    students = {"name": "trained", "outer_loop": scene.outer_loop, "inner_loop": scene.inner_loop, "until": rule}
    chosen = settings.Distillation.model_validate(
        {
            "synthetic": {"name": "pixels", "init": "noise"},
            "objective": {"name": "features"},
            "students": students | {"lr": STUDENT_LR, "augment": strategy},
            "augment": strategy,
            "outer": {"images": {"lr": LR, "momentum": MOMENTUM}},
            "iterations": iterations,
            "real_batch": scene.real_batch,
        }
    )
    return compose(chosen, scene.context(Streams("program")))


def convnet_maps(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Behind every ReLU, and the flattened last map."""
    found = []
    for layer in network.features:
        images = layer(images)
        if type(layer) is nn.ReLU:
            found.append(images)
    return [*found, images.flatten(1)]


def cafe_loss_and_gradient(
    network: nn.Module,
    real: Sequence[Tensor],
    synthetic: Tensor,
    ipc: int,
    augment: Callable | None = None,
    draws: Sequence | None = None,
    discriminating: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """The alignment of all layers plus the discrimination, and its gradient by the synthetic images.

    Arguments as of `dm_loss_and_gradient`, with the factor of the summed cross-entropy.
    """
    synthetic = synthetic.detach().requires_grad_()
    real, learned = list(real), list(synthetic.split(ipc))
    if augment is not None:
        real = [augment(images, draw) for images, draw in zip(real, draws, strict=True)]
        learned = [augment(images, draw) for images, draw in zip(learned, draws, strict=True)]
    sizes = [len(images) for images in real]
    with torch.no_grad():
        theirs = convnet_maps(network, torch.cat(real))
    mine = convnet_maps(network, torch.cat(learned))
    weights = [0.1] * (len(mine) - 2) + [1.0, 2.0]
    total = synthetic.new_zeros(())
    for weight, a, b in zip(weights, mine, theirs, strict=True):
        means = torch.stack([part.mean(0) for part in b.split(sizes)])
        total = total + weight * (torch.stack([part.mean(0) for part in a.split(ipc)]) - means).square().sum()
    centres = torch.stack([part.mean(0) for part in mine[-1].split(ipc)])  # K F
    log_probabilities = (theirs[-1] @ centres.T).log_softmax(1)
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    total = total - discriminating * log_probabilities[torch.arange(len(labels)), labels].sum()
    (gradient,) = torch.autograd.grad(total, synthetic)
    return total.detach(), gradient


def straight(scene: Scene, strategy: str = STRATEGY, rule: dict = FULL) -> Iterator[tuple[Tensor, dict[str, int]]]:
    """Yields the synthetic images after every update of them, and how the loops before it ended, for ever."""
    raw, labels = scene.data()
    values = raw.double() / 255
    real = ((values - values.mean()) / values.std(correction=0)).float()
    class_index = [(labels == label).nonzero().flatten() for label in range(scene.num_classes)]
    rng, network, augment = Streams("program"), scene.network(), Augment(strategy)

    def rows(label: int, n: int, purpose: str) -> Tensor:
        own = class_index[label]
        return own[torch.randperm(len(own), generator=rng(purpose))[:n]]

    @torch.no_grad()
    def accuracy() -> float:
        chosen = torch.cat([rows(label, rule["probe"], "students.probe") for label in range(scene.num_classes)])
        return float((network(real[chosen]).argmax(1) == labels[chosen]).double().mean())

    shape = (scene.num_classes * scene.ipc, *real.shape[1:])
    synthetic = torch.randn(shape, generator=rng("synthetic.init"))
    targets = torch.arange(scene.num_classes).repeat_interleave(scene.ipc)
    velocity = torch.zeros_like(synthetic)
    ended = dict.fromkeys(("networks", "networks_capped", "trainings", "trainings_capped"), 0)
    while True:
        networks.initialise_(network, rng("students.init"))
        optimizer = torch.optim.SGD(network.parameters(), lr=STUDENT_LR)
        outer: list[float] = []
        for update in range(1, scene.outer_loop + 1):
            draws = [augment.draw(rng("augment"), 1, scene.side, scene.side) for _ in class_index]
            batches = [real[rows(label, scene.real_batch, "real")] for label in range(scene.num_classes)]
            _, gradient = cafe_loss_and_gradient(network, batches, synthetic, scene.ipc, augment, draws)
            velocity.mul_(MOMENTUM).add_(gradient)
            synthetic.sub_(velocity, alpha=LR)
            yield synthetic, dict(ended)
            outer.append(accuracy())
            last = outer[-rule["window"] :]
            if len(last) == rule["window"] and max(last) - min(last) < rule["settled"]:
                break
            if update == scene.outer_loop:
                ended["networks_capped"] += 1
                break
            inner: list[float] = []
            for _ in range(scene.inner_loop):
                one_pass(network, optimizer, synthetic, targets, 256, augment, rng("students.train"))
                inner.append(accuracy())
                last = inner[-rule["window"] :]
                if len(last) == rule["window"] and max(last) - min(last) > rule["moved"]:
                    break
            else:
                ended["trainings_capped"] += 1
            ended["trainings"] += 1
        ended["networks"] += 1
