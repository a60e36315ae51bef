"""The parts of a distillation as golden cases state them, in place of what a run would draw."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ddpipe import networks
from ddpipe.augment import Augment, Draw
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
    """Real data whose every batch is a whole class in storage order; images (K, n, c, h, w)."""

    def __init__(self, images: Tensor):
        self.images = images

    def sample(self, label: int, n: int, rng: torch.Generator) -> Tensor:
        return self.images[label]


class Recorded(Augment):
    """A strategy whose draws are recorded ones, used up in order; keeps what came out of each as `outcomes`."""

    def __init__(self, strategy: str, draws: Sequence[Draw]):
        super().__init__(strategy)
        self.draws = list(draws)
        self.outcomes: list[list[Tensor]] = []

    def draw(self, rng: torch.Generator, n: int, height: int, width: int) -> Draw:
        self.outcomes.append([])
        draw = self.draws[len(self.outcomes) - 1]
        assert draw.parameters.shape[1] == n
        return draw

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        changed = super().__call__(images, draw)
        self.outcomes[-1].append(changed)
        return changed
