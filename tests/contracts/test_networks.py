"""What every network promises, whatever its kind, its options and the size of the images."""

import copy

import pytest
import torch
from pydantic import TypeAdapter

from ddpipe import networks
from ddpipe.errors import UserError
from ddpipe.randomness import generator
from ddpipe.settings import Network

NETWORKS = {
    "convnet-in": {"kind": "convnet", "depth": 2, "width": 8},
    "convnet-bn": {"kind": "convnet", "depth": 3, "width": 4, "norm": "batch"},
    "convnet-none": {"kind": "convnet", "depth": 1, "width": 4, "norm": "none", "first_padding": 2},
    "resnet-in": {"kind": "resnet", "blocks": [1, 2], "widths": [4, 8]},
    "resnet-he": {"kind": "resnet", "blocks": [1, 1], "widths": [4, 8], "norm": "batch", "initialisation": "he"},
    "resnet-ap": {"kind": "resnet", "blocks": [2, 1], "widths": [4, 8], "norm": "batch", "downsampling": "avgpool"},
    "resnet-bottleneck": {"kind": "resnet", "block": "bottleneck", "blocks": [2, 1], "widths": [4, 8]},
    "resnet-bottleneck-ap": {
        "kind": "resnet",
        "block": "bottleneck",
        "blocks": [1, 1],
        "widths": [4, 8],
        "downsampling": "avgpool",
    },
    "densenet-bn": {"kind": "densenet", "blocks": [2, 1, 2], "growth": 4},
    "densenet-in": {"kind": "densenet", "blocks": [1, 2], "growth": 4, "norm": "instance"},
}
SHAPES = [(1, 8), (1, 28), (3, 64), (3, 15)]  # channels, resolution
CLASSES = 5

every_network = pytest.mark.parametrize("name", NETWORKS)
every_shape = pytest.mark.parametrize(("channels", "resolution"), SHAPES)


def settings(name: str) -> Network:
    return TypeAdapter(Network).validate_python(NETWORKS[name])


def create(name: str, seed: int = 0, channels: int = 3, resolution: int = 16) -> networks.Classifier:
    return networks.create(settings(name), channels, resolution, CLASSES, generator(seed))


def bits(network: torch.nn.Module) -> list[torch.Tensor]:
    return list(network.state_dict().values())


def same(a: torch.nn.Module, b: torch.nn.Module) -> list[bool]:
    return [torch.equal(x, y) for x, y in zip(bits(a), bits(b), strict=True)]


def test_every_kind_is_here():
    assert {spec["kind"] for spec in NETWORKS.values()} == set(networks.KINDS)


@every_network
def test_initialise_sets_every_parameter_and_buffer(name):
    network = networks.build(settings(name), 3, 16, CLASSES)
    for tensor in bits(network):
        tensor.fill_(float("nan") if tensor.is_floating_point() else -1)
    assert networks.initialise_(network, generator(0)) is network
    assert all(same(network, create(name)))
    assert all(tensor.isfinite().all() for tensor in bits(network))
    assert all(buffer.ge(0).all() for buffer in network.buffers())


@every_network
def test_the_generator_decides_every_random_tensor(name):
    network, again, other = create(name, 0), create(name, 0), create(name, 1)
    assert all(same(network, again))
    random = [p.ndim > 1 for p in network.parameters()]
    differs = [not torch.equal(p, q) for p, q in zip(network.parameters(), other.parameters(), strict=True)]
    assert all(d for d, r in zip(differs, random, strict=True) if r)


@every_network
def test_one_generator_gives_different_networks_in_a_row(name):
    rng = generator(0)
    first, second = (networks.create(settings(name), 3, 16, CLASSES, rng) for _ in range(2))
    assert not all(same(first, second))


@every_network
def test_global_random_state_is_untouched(name):
    before = torch.get_rng_state()
    network = create(name)
    network(torch.zeros(2, 3, 16, 16))
    assert torch.equal(before, torch.get_rng_state())


@every_network
@every_shape
def test_features_feed_the_classifier(name, channels, resolution):
    network = create(name, channels=channels, resolution=resolution).eval()
    images = torch.randn(3, channels, resolution, resolution, generator=generator("images"))
    features = network.embed(images)
    assert features.shape == (3, network.classifier.in_features)
    logits = network(images)
    assert logits.shape == (3, CLASSES)
    assert torch.equal(logits, network.classifier(features))
    *_, weight, bias = network.parameters()
    assert weight is network.classifier.weight and bias is network.classifier.bias


@every_network
def test_memory_layout_of_the_images_does_not_matter(name):
    network = create(name).double().eval()
    images = torch.randn(3, 3, 16, 16, generator=generator("images"), dtype=torch.float64)
    torch.testing.assert_close(network(images.to(memory_format=torch.channels_last)), network(images))


@every_network
def test_float64_networks_get_the_same_values(name):
    double = networks.build(settings(name), 3, 16, CLASSES).double()
    networks.initialise_(double, generator(0))
    assert all(p.dtype == torch.float64 for p in double.parameters())
    for p, q in zip(double.parameters(), create(name).parameters(), strict=True):
        torch.testing.assert_close(p.float(), q)
    assert double(torch.zeros(2, 3, 16, 16, dtype=torch.float64)).dtype == torch.float64


@every_network
def test_gradients_reach_every_parameter_and_the_images(name):
    network = create(name).double()
    images = torch.randn(4, 3, 16, 16, generator=generator("images"), dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(network(images), torch.arange(4))
    gradients = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
    assert all(g.isfinite().all() and g.ne(0).any() for g in gradients)
    (second,) = torch.autograd.grad(sum(g.square().sum() for g in gradients), images)
    assert second.isfinite().all() and second.ne(0).any()


@every_network
def test_batch_norm_is_seen(name):
    assert networks.has_batch_norm(create(name)) == any("running_mean" in key for key in create(name).state_dict())


@every_network
def test_copies_are_independent(name):
    network = create(name)
    twin = copy.deepcopy(network)
    networks.initialise_(twin, generator(1))
    assert all(same(network, create(name)))


@every_network
def test_initial_law(name):
    network = create(name)
    he = NETWORKS[name].get("initialisation") == "he"
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            fan_in = module.weight[0].numel()
            values = module.weight.detach().flatten()
            if he and isinstance(module, torch.nn.Conv2d):
                expected = (2 / (module.weight[0, 0].numel() * module.out_channels)) ** 0.5
            else:
                expected = (3 * fan_in) ** -0.5  # standard deviation of the uniform law on +-1/sqrt(fan_in)
                assert values.abs().max() <= fan_in**-0.5
                if module.bias is not None:
                    assert module.bias.abs().max() <= fan_in**-0.5
            # Four standard errors of the root mean square of normal numbers.
            assert abs(values.square().mean().sqrt() / expected - 1) < 4 / (2 * len(values)) ** 0.5
        elif isinstance(module, torch.nn.GroupNorm | torch.nn.BatchNorm2d):
            assert module.weight.eq(1).all() and module.bias.eq(0).all()
    for key, buffer in network.named_buffers():
        assert buffer.eq(1 if key.endswith("running_var") else 0).all()


def test_unknown_layers_are_refused():
    with pytest.raises(TypeError, match="PReLU"):
        networks.initialise_(torch.nn.Sequential(torch.nn.PReLU()), generator(0))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "convnet", "depth": 4}, "depth 4"),
        ({"kind": "resnet", "blocks": [1] * 5, "widths": [4] * 5, "downsampling": "avgpool"}, "downsampling"),
        ({"kind": "resnet", "blocks": [1, 1, 1]}, "widths"),
        ({"kind": "densenet", "blocks": [1] * 5}, "fewer blocks"),
    ],
)
def test_networks_that_do_not_fit_are_refused(spec, message):
    with pytest.raises(UserError, match=message):
        networks.build(TypeAdapter(Network).validate_python(spec), 1, 8, CLASSES)
