"""IDC as one straight program, next to the composed one.

Kim et al., ICML 2022. The network's initialisation, the augmentations, CutMix and the generators are the pipeline's.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe import augmentation, networks, settings
from ddpipe.augmentation import cutmix
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.randomness import Streams
from tests.reference.gradient import class_gradient
from tests.reference.program import MOMENTUM, Scene

FACTOR, LR, MATCHING = 2, 0.002, "idc:color_crop_cutout"
TRAINING = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005}
BATCH, STRATEGY, MIXED = 64, "idc:color_crop", 0.5


def composed(scene: Scene, iterations: int, lr: float = LR) -> Distillation:
    students = {"name": "trained", "on": "real", "outer_loop": scene.outer_loop, "inner_loop": scene.inner_loop}
    matched = {"metric": "l1", "weights": "convolutions", "sequential": True}
    chosen = settings.Distillation.model_validate(
        {
            "synthetic": {"name": "multiformation", "factor": FACTOR},
            "objective": {"name": "gradient"} | matched,
            "students": students | TRAINING | {"batch": BATCH, "augment": STRATEGY, "cutmix": MIXED},
            "augment": MATCHING,
            "outer": {"images": {"lr": lr, "momentum": MOMENTUM}},
            "iterations": iterations,
            "real_batch": scene.real_batch,
        }
    )
    return compose(chosen, scene.context(Streams("program")))


def mixed(pool: Tensor) -> Tensor:
    """Images made of FACTOR x FACTOR shrunk ones; the side is a multiple of FACTOR."""
    side, parts = pool.shape[3] // FACTOR, F.interpolate(pool, scale_factor=1 / FACTOR, mode="nearest")
    images = pool.new_empty(len(pool) // FACTOR**2, *pool.shape[1:])
    for k, part in enumerate(parts.split(len(images))):
        row, column = k // FACTOR * side, k % FACTOR * side
        images[:, :, row : row + side, column : column + side] = part
    return images


def decoded(images: Tensor) -> Tensor:
    """All patches in the one place, then all in the next, each enlarged."""
    side = images.shape[3] // FACTOR
    cut = [images[:, :, i : i + side, j : j + side] for i in range(0, side + 1, side) for j in range(0, side + 1, side)]
    return F.interpolate(torch.cat(cut), size=images.shape[2:], mode="bilinear")


def straight(scene: Scene, lr: float = LR) -> Iterator[Tensor]:
    """Yields the undecoded images after every round over the classes, for ever."""
    raw, labels = scene.data()
    values = raw.double() / 255
    mean, std = float(values.mean()), float(values.std(correction=0))
    real = ((values - mean) / std).float()
    class_index = [(labels == label).nonzero().flatten() for label in range(scene.num_classes)]
    rng, network = Streams("program"), scene.network()
    matching, training = augmentation.make(MATCHING), augmentation.make(STRATEGY)
    count = scene.ipc * FACTOR**2
    images = torch.cat([mixed(values[rows[:count]].float()) for rows in class_index]).requires_grad_()
    optimizer = torch.optim.SGD([images], lr=lr, momentum=MOMENTUM)
    weights = [p for p in network.parameters() if p.dim() == 4]

    def shuffled() -> Iterator[Tensor]:
        while True:
            yield from torch.randperm(len(real), generator=rng("students.real")).split(BATCH)

    feed = shuffled()
    while True:
        networks.initialise_(network, rng("students.init"))
        descent = torch.optim.SGD(network.parameters(), **TRAINING)
        images.data.clamp_(0, 1)
        for update in range(scene.outer_loop):
            for _ in range(scene.inner_loop if update else 0):
                rows, draw = next(feed), rng("students.train")
                chosen = training(real[rows], training.draw(draw, len(rows), scene.side, scene.side))
                answers = F.one_hot(labels[rows], scene.num_classes).float()
                if float(torch.rand((), generator=draw)) < MIXED:
                    chosen, answers = cutmix.mix(chosen, answers, cutmix.draw(draw, len(rows), *chosen.shape[2:]))
                descent.zero_grad()
                F.cross_entropy(network(chosen), answers).backward()
                descent.step()
            for label, rows in enumerate(class_index):
                sample = real[rows[torch.randperm(len(rows), generator=rng("real"))[: scene.real_batch]]]
                learned = (decoded(images[label * scene.ipc : (label + 1) * scene.ipc]) - mean) / std
                draw = matching.draw(rng("augment"), 1, scene.side, scene.side)
                both = matching(torch.cat([sample, learned]), draw)
                wanted = class_gradient(network, weights, both[: len(sample)].detach(), label)
                given = class_gradient(network, weights, both[len(sample) :], label, graph=True)
                loss = torch.stack([(a - b).abs().sum() for a, b in zip(given, wanted, strict=True)]).sum()
                (images.grad,) = torch.autograd.grad(loss, images)
                optimizer.step()
            yield images.detach()
