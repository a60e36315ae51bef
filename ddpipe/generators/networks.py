"""Generator and critic while they are trained: BigGAN's for small images (Brock et al., ICLR 2019; its CIFAR-10 form).

Every convolution and linear layer is divided by an estimate of its spectral norm, one step of a power iteration a
forward pass (Miyato et al., ICLR 2018). The generator's batch norms have a scale and a shift of each class, not shared
between layers; the critic adds the inner product of its features with a vector of the class (Miyato and Koyama, 2018).
Attention, hierarchical latents and shared class vectors are left out, as in the generator of IT-GAN.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe.generators.decoding import BOTTOM, doubled, middle
from ddpipe.networks.classifier import Conv2d, Linear
from ddpipe.settings.generators import Sizes
from ddpipe.settings.shapes import Shape

SPREAD = 0.02  # standard deviation of first weights
TINY = 1e-8  # beside lengths that are divided by


def divided(weight: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """`weight` by an estimate of its largest singular value, and a better `u` (rows,), its left singular vector.

    The gradient passes through the weight in the estimate, not through the vectors.
    """
    matrix = weight.flatten(1)
    with torch.no_grad():
        v = F.normalize(matrix.T @ u, dim=0, eps=TINY)
        u = F.normalize(matrix @ v, dim=0, eps=TINY)
    return weight / (u @ matrix @ v), u


class Divided(nn.Module):
    """A layer's weight, divided by its spectral norm; training moves the estimate."""

    u: Tensor

    def __init__(self, layer: Conv2d | Linear):
        super().__init__()
        self.layer = layer
        self.register_buffer("u", torch.empty(layer.weight.shape[0]))

    def weight(self) -> Tensor:
        weight, u = divided(self.layer.weight, self.u)
        if self.training:
            self.u.copy_(u)
        return weight

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, Linear):
            return F.linear(x, self.weight(), self.layer.bias)
        return F.conv2d(x, self.weight(), self.layer.bias, padding=self.layer.padding)


def convolution(before: int, after: int, kernel: int = 3) -> Divided:
    return Divided(Conv2d(before, after, kernel, padding=kernel // 2))


class OfClass(nn.Module):
    """Batch norm with a scale and a shift of each class."""

    def __init__(self, maps: int, classes: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(maps, affine=False)
        self.gain, self.shift = (nn.Parameter(torch.empty(classes, maps)) for _ in range(2))

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        return self.norm(x) * (1 + self.gain[classes])[..., None, None] + self.shift[classes][..., None, None]


class Up(nn.Module):
    def __init__(self, maps: int, classes: int):
        super().__init__()
        self.norm1, self.norm2 = OfClass(maps, classes), OfClass(maps, classes)
        self.conv1, self.conv2, self.skip = convolution(maps, maps), convolution(maps, maps), convolution(maps, maps, 1)

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        inner = self.conv1(doubled(self.norm1(x, classes).relu()))
        return self.conv2(self.norm2(inner, classes).relu()) + doubled(self.skip(x))


class Generator(nn.Module):
    def __init__(self, sizes: Sizes, shape: Shape):
        super().__init__()
        maps, self.side = sizes.maps, shape.resolution
        self.linear = Divided(Linear(sizes.noise, BOTTOM**2 * maps))
        self.blocks = nn.ModuleList(Up(maps, shape.classes) for _ in range(sizes.blocks(shape)))
        self.norm, self.last = nn.BatchNorm2d(maps), convolution(maps, shape.channels)

    def forward(self, latents: Tensor, classes: Tensor) -> Tensor:  # (n, z), (n,) -> (n, c, h, h) in [-1, 1]
        x = self.linear(latents).unflatten(1, (-1, BOTTOM, BOTTOM))
        for block in self.blocks:
            x = block(x, classes)
        return middle(self.last(self.norm(x).relu()).tanh(), self.side)

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """What `decoding.decoded` makes the same images with as this does in evaluation mode."""

        def plain(norm: nn.BatchNorm2d, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
            assert norm.running_mean is not None and norm.running_var is not None
            gain = gain / (norm.running_var + norm.eps).sqrt()
            return gain, shift - norm.running_mean * gain

        layers, scales = {"linear": self.linear, "last.conv": self.last}, {}
        for number, block in enumerate(self.blocks):
            layers |= {f"block{number}.{name}": getattr(block, name) for name in ("conv1", "conv2", "skip")}
            for which in (1, 2):
                own = getattr(block, f"norm{which}")
                scales[f"block{number}.{{}}{which}"] = plain(own.norm, 1 + own.gain, own.shift)
        scales["last.{}"] = plain(self.norm, self.norm.weight, self.norm.bias)
        found: dict[str, Tensor] = {}
        for name, layer in layers.items():
            assert layer.layer.bias is not None
            found |= {f"{name}.weight": divided(layer.layer.weight, layer.u)[0], f"{name}.bias": layer.layer.bias}
        for name, (gain, shift) in scales.items():
            found |= {name.format("gain"): gain, name.format("shift"): shift}
        return {name: tensor.detach().clone() for name, tensor in found.items()}


class Down(nn.Module):
    """A residual block of the critic; the first one sees images and does not bend them."""

    def __init__(self, before: int, after: int, first: bool, halves: bool):
        super().__init__()
        self.first, self.halves = first, halves
        self.conv1, self.conv2 = convolution(before, after), convolution(after, after)
        self.skip = convolution(before, after, 1) if before != after or halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv2(self.conv1(x if self.first else x.relu()).relu())
        if not self.halves:
            return inner + self.skip(x)
        # a 1x1 convolution of means is the mean of 1x1 convolutions
        return halved(inner) + self.skip(halved(x))


def halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True)


class Critic(nn.Module):
    """As many blocks as the generator and one more, of which the last two (of two the last) keep the side."""

    def __init__(self, sizes: Sizes, shape: Shape):
        super().__init__()
        maps, count = sizes.maps, sizes.blocks(shape) + 1
        halving = max(1, count - 2)
        self.blocks = nn.Sequential(
            *(Down(maps if n else shape.channels, maps, first=n == 0, halves=n < halving) for n in range(count))
        )
        self.linear = Divided(Linear(maps, 1))
        self.of_class = Divided(Linear(maps, shape.classes, bias=False))

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:  # (n, c, h, h), (n,) -> (n,)
        features = self.blocks(images).relu().sum((2, 3))  # n C
        return self.linear(features)[:, 0] + (self.of_class.weight()[classes] * features).sum(1)


@torch.no_grad()
def initialise_(network: nn.Module, rng: torch.Generator) -> None:
    """Normal weights, no biases; scales 1 and shifts 0 where no class has its own. All from one generator."""

    def normal_(tensor: Tensor, spread: float) -> None:
        tensor.copy_(spread * torch.randn(tensor.shape, generator=rng))

    for module in network.modules():
        if isinstance(module, Divided):
            normal_(module.layer.weight, SPREAD)
            normal_(module.u, 1.0)
            if module.layer.bias is not None:
                module.layer.bias.zero_()
        elif isinstance(module, OfClass):
            normal_(module.gain, SPREAD)
            normal_(module.shift, SPREAD)
