"""DM, DC, DSA, DCC and Jiang et al. as the plain programs one would write without the pipeline's parts, next to the
composed ones.

Both draw from generators of the same names, so that they give the same images up to rounding. What is not the parts'
work is shared: the network and its initialisation, the augmentations, the generators.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe import networks, settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.context import Context
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.randomness import Streams, generator
from tests.contexts import context
from tests.reference.distribution import dm_loss_and_gradient
from tests.reference.gradient import dc_loss_and_gradient, dcc_loss_and_gradient, jiang_loss_and_gradient

MOMENTUM, STUDENT_LR = 0.5, 0.01
STRATEGY = "color_crop_cutout_scale_rotate"


@dataclass(frozen=True)
class Method:
    """What sets a method apart."""

    objective: dict  # composed
    loss_and_gradient: Callable[..., tuple[Tensor, Tensor]]  # straight
    lr: float = 0.1
    matching: str = "none"  # augmentations
    training: str = "none"
    student_momentum: float = 0.0


METHODS = {
    "dm": Method({"name": "distribution"}, dm_loss_and_gradient, lr=1.0, matching=STRATEGY),
    "dc": Method({"name": "gradient"}, dc_loss_and_gradient),
    "dsa": Method({"name": "gradient"}, dc_loss_and_gradient, matching=STRATEGY, training=STRATEGY),
    "dcc": Method({"name": "gradient", "scope": "joint"}, dcc_loss_and_gradient, matching=STRATEGY, training=STRATEGY),
    "jiang": Method(
        {"name": "gradient", "scope": "both", "metric": "magnitude"}, jiang_loss_and_gradient, student_momentum=0.5
    ),
}


@dataclass(frozen=True)
class Scene:
    """One method at one size, on grey noise images."""

    method: str
    ipc: int
    side: int = 8
    depth: int = 2
    width: int = 16
    real_batch: int = 64
    outer_loop: int = 1
    inner_loop: int = 1
    num_classes: int = 10
    per_class: int = 130

    def data(self) -> tuple[Tensor, Tensor]:
        """uint8 images (N, 1, h, w) and their labels (N,)."""
        labels = torch.arange(self.num_classes).repeat(self.per_class)
        rng = generator("scene")
        offset = torch.randint(100, (self.num_classes, 1, self.side, self.side), generator=rng)
        noise = torch.randint(156, (len(labels), 1, self.side, self.side), generator=rng)
        return (offset[labels] + noise).to(torch.uint8), labels

    def real(self) -> Resident:
        images, labels = self.data()
        return Resident(images, labels, fit(images, settings.Dataset(source="digits")))

    def network(self) -> networks.Classifier:
        return networks.build(self.architecture(), 1, self.side, self.num_classes)

    def architecture(self) -> settings.ConvNet:
        return settings.ConvNet(kind="convnet", depth=self.depth, width=self.width)

    def context(self, rng: Streams) -> Context:
        return context(self.real(), self.ipc, self.network(), rng, flip=False, real_batch=self.real_batch)

    def settings(self, iterations: int) -> settings.Distillation:
        method = METHODS[self.method]
        trained = {"name": "trained", "outer_loop": self.outer_loop, "inner_loop": self.inner_loop}
        trained |= {"lr": STUDENT_LR, "momentum": method.student_momentum, "augment": method.training}
        return settings.Distillation.model_validate(
            {
                "synthetic": {"name": "pixels"},
                "objective": method.objective,
                "students": {"name": "fresh"} if self.method == "dm" else trained,
                "augment": method.matching,
                "outer": {"images": {"lr": method.lr, "momentum": MOMENTUM}},
                "iterations": iterations,
                "real_batch": self.real_batch,
            }
        )


def composed(scene: Scene, iterations: int) -> Distillation:
    return compose(scene.settings(iterations), scene.context(Streams("program")))


def straight(scene: Scene) -> Iterator[Tensor]:
    """Yields the synthetic images after every update of them, for ever."""
    raw, labels = scene.data()
    values = raw.double() / 255
    real = ((values - values.mean()) / values.std(correction=0)).float()
    class_index = [(labels == label).nonzero().flatten() for label in range(scene.num_classes)]
    rng = Streams("program")
    network, method = scene.network(), METHODS[scene.method]
    matching, training = Augment(method.matching), Augment(method.training)

    def sample(label: int, n: int, purpose: str) -> Tensor:
        rows = class_index[label]
        return real[rows[torch.randperm(len(rows), generator=rng(purpose))[:n]]]

    synthetic = torch.cat([sample(label, scene.ipc, "synthetic.init") for label in range(scene.num_classes)])
    targets = torch.arange(scene.num_classes).repeat_interleave(scene.ipc)
    velocity = torch.zeros_like(synthetic)
    while True:
        networks.initialise_(network, rng("students.init"))
        optimizer = torch.optim.SGD(network.parameters(), STUDENT_LR, method.student_momentum)
        for update in range(scene.outer_loop):
            for _ in range(scene.inner_loop if update else 0):
                one_pass(network, optimizer, synthetic, targets, 256, training, rng("students.train"))
            draws, batches = [], []
            for label in range(scene.num_classes):
                draws.append(matching.draw(rng("augment"), 1, scene.side, scene.side))
                batches.append(sample(label, scene.real_batch, "real"))
            _, gradient = method.loss_and_gradient(network, batches, synthetic, scene.ipc, matching, draws)
            velocity.mul_(MOMENTUM).add_(gradient)
            synthetic.sub_(velocity, alpha=method.lr)
            yield synthetic


def one_pass(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    batch: int,
    augment: Augment,
    rng: torch.Generator,
) -> None:
    """Once over the images, shuffled if they do not fit into one batch."""
    if len(images) > batch:
        parts = [(images[rows], labels[rows]) for rows in torch.randperm(len(images), generator=rng).split(batch)]
    else:
        parts = [(images, labels)]
    for chosen, answers in parts:
        chosen = augment(chosen, augment.draw(rng, len(chosen), *chosen.shape[2:]))
        loss = F.cross_entropy(network(chosen), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
