"""The parts of a distillation as golden cases state them, in place of what a run would draw."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from ddpipe import networks
from ddpipe.augmentation.siamese import Augment, Draw
from ddpipe.distillation.loop import Distillation
from ddpipe.distillation.outer import Loss
from ddpipe.settings import ConvNet


def network_of(spec: dict, weights: Sequence[Tensor], dtype: torch.dtype = torch.float32) -> networks.Classifier:
    """The network that a case describes, with the case's weights, ready to train."""
    settings = ConvNet(
        kind=spec["kind"],
        depth=spec["depth"],
        width=spec["width"],
        norm=spec["norm"],
        first_padding=spec["first_conv_padding"],
    )
    network = networks.build(settings, spec["channels"], spec["image_size"][0], spec["num_classes"]).to(dtype)
    assert sum(w.numel() for w in weights) == spec["num_params"]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return copy_(network, weights).train()


@torch.no_grad()
def copy_(network: networks.Classifier, weights: Sequence[Tensor]) -> networks.Classifier:
    for parameter, weight in zip(network.parameters(), weights, strict=True):
        assert parameter.shape == weight.shape
        parameter.copy_(weight)
    return network


class WholeClass:
    """Real data whose every batch is a whole class in storage order; images (n, c, h, w) of each class."""

    def __init__(self, images: Sequence[Tensor]):
        self.images = torch.cat(list(images))
        self.class_index = torch.arange(len(self.images)).split([len(x) for x in images])

    def sample_index(self, label: int, n: int, rng: torch.Generator) -> Tensor:
        return self.class_index[label]

    def batch(self, index: Tensor) -> Tensor:
        return self.images[index]

    def sample(self, label: int, n: int, rng: torch.Generator) -> Tensor:
        return self.batch(self.sample_index(label, n, rng))


def gradients_of(monkeypatch: pytest.MonkeyPatch, run: Distillation) -> list[Tensor]:
    """Let `run` note the gradient by the images of each of its losses in the list returned."""
    notes: list[Tensor] = []
    step = run.outer.step

    def noting(loss: Loss) -> None:
        notes.extend(loss.gradients([run.synthetic.images]))
        step(loss)

    monkeypatch.setattr(run.outer, "step", noting)
    return notes


class Recorded(Augment):
    """A strategy whose draws are recorded ones, handed out in order; `outcomes` keeps what came out of each."""

    def __init__(self, strategy: str, draws: Sequence[Draw]):
        super().__init__(strategy)
        self.draws, self.handed_out = draws, 0
        self.outcomes: list[list[Tensor]] = [[] for _ in draws]

    def draw(self, rng: torch.Generator, n: int, height: int, width: int) -> Draw:
        draw = self.draws[self.handed_out]
        self.handed_out += 1
        assert draw.parameters.shape[1] == n
        return draw

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        changed = super().__call__(images, draw)
        (number,) = (number for number, own in enumerate(self.draws) if own is draw)
        self.outcomes[number].append(changed)
        return changed
