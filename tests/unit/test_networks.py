"""The networks of params.yaml are the published ones: numbers of parameters, and structures that no count can tell."""

from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from ruamel.yaml import YAML
from torch import Tensor

from ddpipe import networks
from ddpipe.errors import UserError
from ddpipe.randomness import generator
from ddpipe.settings import Network
from tests.tracked import TRACKED

ROOT = Path(__file__).parents[2]

SHAPES = [(3, 32, 10), (3, 32, 100), (3, 64, 200), (1, 28, 10)]  # channels, resolution, classes: columns of the sheets
CONVNET3 = [320_010, 504_420, 1_938_120, 317_706]
CONVNET4 = [452_490, 498_660, 857_160, 450_186]
RESNET18 = [11_173_962, 11_220_132, 11_271_432, 11_172_810]
RESNET152 = [58_156_618, 58_341_028, 58_545_928, 58_155_466]
# counted on the official definitions; None: the sheets do not say
COUNTS: dict[str, list[int | None]] = {
    "convnet3": CONVNET3,
    "convnet3_bn": CONVNET3,
    "convnet4": CONVNET4,
    "resnet10_w32_bn": [1_228_970, 1_252_100, 1_277_800, 1_228_394],
    "resnet18_in": RESNET18,
    "resnet18_bn": RESNET18,
    "resnet18_ap": [11_250_762, 11_988_132, None, None],
    "resnet152_in": RESNET152,
    "resnet152_bn": RESNET152,
    "densenet121_g12_bn": [1_000_618, 1_035_268, 1_073_768, None],
    "densenet121_g32_bn": [6_956_298, 7_048_548, 7_151_048, None],
}


@cache
def entries() -> dict[str, dict]:
    return YAML(typ="safe").load((TRACKED / "params.yaml").read_text())["networks"]


def build(entry: str | dict, channels: int, resolution: int, classes: int) -> networks.Classifier:
    """The network of an entry of params.yaml, or of its text, without memory for its tensors."""
    settings = TypeAdapter(Network).validate_python(entries()[entry] if isinstance(entry, str) else entry)
    return networks.build(settings, channels, resolution, classes, device="meta")


def count(entry: str | dict, channels: int, resolution: int, classes: int) -> int:
    return sum(p.numel() for p in build(entry, channels, resolution, classes).parameters())


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        (name, shape, number)
        for name, numbers in COUNTS.items()
        for shape, number in zip(SHAPES, numbers, strict=True)
        if number is not None
    ],
)
def test_parameters_of_the_table(name, shape, expected):
    assert count(name, *shape) == expected


def test_parameters_of_the_wide_resnet10():
    wide = {**entries()["resnet10_w32_bn"], "widths": [64, 128, 256, 512]}
    assert [count(wide, *shape) for shape in SHAPES] == [4_903_242, 4_949_412, 5_000_712, 4_902_090]


def test_parameters_of_convnet4_on_imagenet():
    assert count("convnet4", 3, 64, 1000) == 2_496_360


def convolution(inputs: int, outputs: int, kernel: int = 3) -> int:
    return inputs * outputs * kernel**2 + outputs


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


@pytest.mark.parametrize(
    ("name", "shape", "expected", "layers"),
    [
        ("lenet", (1, 28, 10), 61_706, [156, 2416, linear(400, 120), linear(120, 84), linear(84, 10)]),
        ("lenet", (3, 32, 10), 62_006, [456, 2416, linear(400, 120), linear(120, 84), linear(84, 10)]),
        (
            "alexnet",
            (3, 32, 10),
            1_756_426,
            [convolution(3, 64, 5), convolution(64, 64, 5), linear(4096, 384), linear(384, 192), linear(192, 10)],
        ),
        (
            "alexnet",
            (3, 64, 200),
            6_511_688,
            [convolution(3, 64, 5), convolution(64, 64, 5), linear(16384, 384), linear(384, 192), linear(192, 200)],
        ),
        (
            "convnet3_frepo",
            (3, 32, 10),
            1_560_842,
            [convolution(3, 128), convolution(128, 256), convolution(256, 512), linear(512 * 16, 10)],
        ),
        (
            "convnet3_frepo",  # grey images are framed to 32x32
            (1, 28, 10),
            1_558_538,
            [convolution(1, 128), convolution(128, 256), convolution(256, 512), linear(512 * 16, 10)],
        ),
        (
            "convnet3_kip",
            (3, 32, 10),
            28_507_146,
            [convolution(3, 1024), *[convolution(1024, 1024)] * 3, linear(1024 * 16, 10)],
        ),
        (
            "convnet3_rfad",
            (3, 32, 10),
            19_068_938,
            [convolution(3, 1024), *[convolution(1024, 1024)] * 2, linear(1024 * 16, 10)],
        ),
        (
            "convnet3_rfad",  # grey images stay 28x28: maps of 3x3
            (1, 28, 10),
            18_978_826,
            [convolution(1, 1024), *[convolution(1024, 1024)] * 2, linear(1024 * 9, 10)],
        ),
        (
            "convnet3_frepo_bn",  # that it learns with: a scale and a shift for every map that enters a later block
            (3, 32, 10),
            1_561_610,
            [convolution(3, 128), 2 * 128, convolution(128, 256), 2 * 256, convolution(256, 512), linear(512 * 16, 10)],
        ),
        (
            "convnet4_frepo",
            (3, 64, 200),
            9_475_528,
            [
                *[convolution(3, 128), convolution(128, 256), convolution(256, 512), convolution(512, 1024)],
                linear(1024 * 16, 200),
            ],
        ),
        (
            "convnet3_w256_kernel",
            (3, 32, 10),
            1_228_298,
            [convolution(3, 256), *[convolution(256, 256)] * 2, linear(256 * 16, 10)],
        ),
        # GTN's: a gain takes the place of a convolution's bias, and each norm has a bias
        (
            "learner_mnist",
            (1, 28, 10),
            1_683_668,
            [convolution(1, 64) + 64, convolution(64, 128) + 128, linear(128 * 49, 256) + 512, linear(256, 10) + 10],
        ),
        (
            "learner_cifar10",
            (3, 32, 10),
            1_111_892,
            [
                *[convolution(3, 64) + 64, convolution(64, 128) + 128, convolution(128, 128) + 128],
                *[convolution(128, 256) + 256, convolution(256, 256) + 256, linear(256, 10) + 10],
            ],
        ),
    ],
)
def test_parameters_of_networks_layer_by_layer(name, shape, expected, layers):
    assert count(name, *shape) == sum(layers) == expected


@pytest.mark.parametrize("name", entries())
def test_every_network_takes_64x64_images_or_says_why_not(name):
    if name.startswith("lenet"):
        with pytest.raises(UserError, match="28x28 or 32x32, not 64x64"):
            build(name, 3, 64, 200)
        return
    assert build(name, 3, 64, 200)(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 200)


@pytest.mark.parametrize(
    ("name", "features"), [("lenet", 84), ("alexnet", 192), ("learner_mnist", 256), ("learner_cifar10", 256)]
)
def test_features_of_the_networks_that_learn_from_unrolled_sets(name, features):
    assert build(name, 3, 32, 10).classifier.in_features == features


# --- structures against plain sequences of operations, with the parameters taken in the official order ----------------


def filled(entry: dict, channels: int, resolution: int) -> tuple[networks.Classifier, list[Tensor]]:
    """A float64 network whose every parameter is random, so that no layer is the identity, and its parameters."""
    settings = TypeAdapter(Network).validate_python(entry)
    network = networks.create(settings, channels, resolution, 5, generator("structure")).double().eval()
    rng = generator("parameters")
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.detach().uniform_(0.5, 1.5, generator=rng)
    return network, [parameter.detach() for parameter in network.parameters()]


def images(channels: int, resolution: int) -> Tensor:
    shape = (2, channels, resolution, resolution)
    return torch.randn(shape, generator=generator("images"), dtype=torch.float64)


def norm(x: Tensor, parameters: list[Tensor]) -> Tensor:
    """Instance normalisation, popping its scale and shift."""
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    scale, shift = (parameters.pop(0).view(1, -1, 1, 1) for _ in range(2))
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


@pytest.mark.parametrize("resolution", [32, 28])
def test_resnet18_ap_pools_after_the_first_relu_and_before_the_norm_of_the_shortcut(resolution):
    entry = {**entries()["resnet18_ap"], "widths": [4, 8, 12, 16]}
    network, parameters = filled(entry, 3, resolution)
    x = images(3, resolution)
    expected = network(x)
    x = F.relu(norm(F.conv2d(x, parameters.pop(0), padding=1), parameters))
    for block in range(8):
        halve = block in (2, 4, 6)
        y = F.relu(norm(F.conv2d(x, parameters.pop(0), padding=1), parameters))
        y = F.avg_pool2d(y, 2) if halve else y
        y = norm(F.conv2d(y, parameters.pop(0), padding=1), parameters)
        if halve:
            x = norm(F.avg_pool2d(F.conv2d(x, parameters.pop(0)), 2), parameters)
        x = F.relu(x + y)
    assert x.shape[2:] == (resolution // 8, resolution // 8)
    weight, bias = parameters
    torch.testing.assert_close(expected, x.flatten(1) @ weight.T + bias)


def response_norm(x: Tensor) -> Tensor:
    """Over two channels before and one behind each (Krizhevsky et al. 2012, with the constants of the sheets)."""
    squares = F.pad(x.square(), (0, 0, 0, 0, 2, 1))
    total = sum(squares[:, k : k + x.shape[1]] for k in range(4))
    return x / (1 + 0.001 / 9 / 4 * total) ** 0.75


def test_alexnet_normalises_after_the_first_pooling_and_before_the_second():
    network, parameters = filled(entries()["alexnet"], 3, 16)
    network.features[4].weight.detach().mul_(30)  # so that the second normalisation is far from the identity
    x = images(3, 16) * 100
    expected = network(x)
    w = iter(parameters)
    x = F.max_pool2d(F.relu(F.conv2d(x, next(w), next(w), padding=2)), 3, 2, 1)
    x = F.relu(F.conv2d(response_norm(x), next(w), next(w), padding=2))
    x = F.max_pool2d(response_norm(x), 3, 2, 1).flatten(1)
    x = F.relu(F.linear(x, next(w), next(w)))
    x = F.relu(F.linear(x, next(w), next(w)))
    torch.testing.assert_close(network.embed(images(3, 16) * 100), x)
    torch.testing.assert_close(expected, F.linear(x, next(w), next(w)))


def test_kips_convnet_has_one_convolution_more_and_frepos_doubles_its_width():
    kip = {**entries()["convnet3_kip"], "width": 6}
    network, parameters = filled(kip, 1, 28)
    w = iter(parameters)
    x = F.relu(F.conv2d(images(1, 28), next(w), next(w), padding=1))
    for _ in range(3):
        x = F.avg_pool2d(F.relu(F.conv2d(x, next(w), next(w), padding=1)), 2)
    torch.testing.assert_close(network(images(1, 28)), F.linear(x.flatten(1), next(w), next(w)))

    frepo = {**entries()["convnet3_frepo"], "width": [2, 4, 8]}
    network, parameters = filled(frepo, 1, 28)
    w = iter(parameters)
    x = F.pad(images(1, 28), (2, 2, 2, 2))
    for outputs in (2, 4, 8):
        x = F.avg_pool2d(F.relu(F.conv2d(x, next(w), next(w), padding=1)), 2)
        assert x.shape[1] == outputs
    torch.testing.assert_close(network(images(1, 28)), F.linear(x.flatten(1), next(w), next(w)))


def weight_normed(y: Tensor, weight: Tensor, gain: Tensor) -> Tensor:
    return y * (gain.flatten() / weight.flatten(1).norm(dim=1)).view(1, -1, *[1] * (y.dim() - 2))


def test_gtns_learners_halve_by_strides_or_by_pooling_and_evaluate_with_the_mean_of_the_last_batch():
    entry = {**entries()["learner_cifar10"], "widths": [3, 4, 5, 6, 7]}
    network, parameters = filled(entry, 3, 15)
    before, last, test = images(3, 15), images(3, 15) * 2 + 1, images(3, 15) / 2
    network.train()
    network(before)
    trained = network(last)
    evaluated = network.eval()(test)
    assert torch.equal(network(test[:1]), network(test[:1])), "evaluation leaves the mean alone"
    w = iter(parameters)
    kept = []

    def shifted(x: Tensor, y: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Of the batch and of the test images, both less the mean of the batch."""
        mean = x.mean((0, 2, 3), keepdim=True)
        kept.append(mean.flatten())
        return tuple(F.leaky_relu(z - mean + bias.view(1, -1, 1, 1), 0.1) for z in (x, y))

    x, y = last, test
    for stride in (1, 2, 1, 2, 1):
        weight, gain = next(w), next(w)
        x, y = (weight_normed(F.conv2d(z, weight, None, stride, 1), weight, gain) for z in (x, y))
        x, y = shifted(x, y, next(w))
    assert x.shape == (2, 7, 4, 4)
    weight, bias, gain = w
    for found, z in ((trained, x), (evaluated, y)):
        torch.testing.assert_close(found, weight_normed(F.linear(z.mean((2, 3)), weight, bias), weight, gain))
    for buffer, mean in zip(network.buffers(), kept, strict=True):
        torch.testing.assert_close(buffer, mean)
