"""What every network promises, whatever its kind, its options and the size of the images."""

import copy

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from ddpipe import networks
from ddpipe.errors import UserError
from ddpipe.randomness import generator
from ddpipe.settings import ConvNet, Network

NETWORKS = {
    "convnet-in": {"kind": "convnet", "depth": 2, "width": 8},
    "convnet-bn": {"kind": "convnet", "depth": 3, "width": 4, "norm": "batch"},
    "convnet-none": {"kind": "convnet", "depth": 1, "width": 4, "norm": "none", "first_padding": 2},
    "convnet-lecun": {"kind": "convnet", "depth": 2, "width": [4, 8], "norm": "none", "initialisation": "lecun"},
    "convnet-kernel": {
        "kind": "convnet",
        "depth": 1,
        "width": 4,
        "norm": "none",
        "prepended": True,
        "initialisation": "kernel",
    },
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
    "lenet": {"kind": "lenet"},
    "lenet-xavier": {"kind": "lenet", "initialisation": "xavier"},
    "alexnet": {"kind": "alexnet", "initialisation": "xavier"},
    "learner-pool": {"kind": "learner", "widths": [4, 6], "halved": [1, 2], "halving": "pool", "hidden": 8},
    "plain-dense": {"kind": "plain", "layer": "dense", "depth": 2, "width": 4},
    "plain-pooled": {"kind": "plain", "layer": "convolution", "depth": 3, "width": 4, "pooled": [1, 3]},
    "plain-mean": {"kind": "plain", "layer": "convolution", "depth": 2, "width": 4, "pooled": [2], "readout": "mean"},
    "learner-stride": {"kind": "learner", "widths": [4, 6, 8], "halved": [2], "halving": "stride", "hidden": None},
}
SHAPES = [(1, 8), (1, 28), (3, 32), (3, 64), (3, 15)]  # channels, resolution
ONLY = {"lenet": (28, 32)}  # kind -> the resolutions that it takes, where not all
CLASSES = 5

every_network = pytest.mark.parametrize("name", NETWORKS)


def settings(name: str) -> Network:
    return TypeAdapter(Network).validate_python(NETWORKS[name])


def resolutions(name: str) -> tuple[int, ...]:
    """Those that the network takes, one for most tests first."""
    return ONLY.get(NETWORKS[name]["kind"], (16, 8, 15, 28, 32, 64))


def create(name: str, seed: int = 0) -> networks.Classifier:
    return networks.create(settings(name), 3, resolutions(name)[0], CLASSES, generator(seed))


def batch(name: str, n: int = 3) -> torch.Tensor:
    side = resolutions(name)[0]
    return torch.randn(n, 3, side, side, generator=generator("images"), dtype=torch.float64)


def bits(network: torch.nn.Module) -> list[torch.Tensor]:
    return list(network.state_dict().values())


def same(a: torch.nn.Module, b: torch.nn.Module) -> list[bool]:
    return [torch.equal(x, y) for x, y in zip(bits(a), bits(b), strict=True)]


@every_network
def test_maps_are_those_of_every_nonlinearity_and_end_with_the_embedding(name):
    network, images = create(name).double(), batch(name)
    with torch.no_grad():
        *maps, last = network.maps(images)
        assert torch.equal(last, network.embed(images))
    assert maps and all(len(found) == len(images) for found in maps)
    dense = NETWORKS[name].get("layer") == "dense"
    assert maps[0].dim() == (2 if dense else 4)
    leaky = [module for module in network.modules() if isinstance(module, torch.nn.LeakyReLU)]
    if leaky:  # and pooled before them
        assert len(maps) == len(leaky)
    else:
        assert all(bool((found >= 0).all()) for found in maps)
        assert dense or maps[0].shape[2] >= images.shape[2]  # not pooled yet


def test_every_kind_is_here():
    assert {spec["kind"] for spec in NETWORKS.values()} == set(networks.KINDS)


@every_network
def test_initialise_sets_every_parameter_and_buffer(name):
    network = networks.build(settings(name), 3, resolutions(name)[0], CLASSES)
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
    random = [p.ndim > 1 for p in network.parameters()]  # weights, not biases
    differs = [not torch.equal(p, q) for p, q in zip(network.parameters(), other.parameters(), strict=True)]
    assert all(d for d, r in zip(differs, random, strict=True) if r)


@every_network
def test_one_generator_gives_different_networks_in_a_row(name):
    rng = generator(0)
    first, second = (networks.create(settings(name), 3, resolutions(name)[0], CLASSES, rng) for _ in range(2))
    assert not all(same(first, second))


@every_network
def test_global_random_state_is_untouched(name):
    before = torch.get_rng_state()
    network = create(name)
    network(batch(name).float())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "channels", "resolution"),
    [(name, *shape) for name in NETWORKS for shape in SHAPES if shape[1] in resolutions(name)],
)
def test_features_feed_the_classifier(name, channels, resolution):
    network = networks.create(settings(name), channels, resolution, CLASSES, generator(0)).eval()
    images = torch.randn(3, channels, resolution, resolution, generator=generator("images"))
    features = network.embed(images)
    assert features.shape == (3, network.classifier.in_features)
    logits = network(images)
    assert logits.shape == (3, CLASSES)
    assert torch.equal(logits, network.classifier(features))
    own = list(network.classifier.parameters())
    assert own[0] is network.classifier.weight and own[1] is network.classifier.bias
    assert all(a is b for a, b in zip(own, list(network.parameters())[-len(own) :], strict=True))


@every_network
def test_memory_layout_of_the_images_does_not_matter(name):
    network = create(name).double().eval()
    images = batch(name)
    torch.testing.assert_close(network(images.to(memory_format=torch.channels_last)), network(images))


@every_network
def test_float64_networks_get_the_same_values(name):
    double = networks.build(settings(name), 3, resolutions(name)[0], CLASSES).double()
    networks.initialise_(double, generator(0))
    assert all(p.dtype == torch.float64 for p in double.parameters())
    for p, q in zip(double.parameters(), create(name).parameters(), strict=True):
        torch.testing.assert_close(p.float(), q)
    assert double(batch(name)).dtype == torch.float64


@every_network
def test_gradients_reach_every_parameter_and_the_images(name):
    network = create(name).double()
    images = batch(name, 4).requires_grad_()
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


def law(name: str) -> str:
    own = {"learner": "kaiming", "plain": "kernel"}
    return own.get(NETWORKS[name]["kind"]) or NETWORKS[name].get("initialisation", "default")


def weight_std(initialisation: str, layer: torch.nn.Module) -> float:
    """The standard deviation that the papers' laws give the weights of `layer`."""
    fan_in, fan_out = layer.weight[0].numel(), layer.weight[:, 0].numel()
    if initialisation == "he" and layer.weight.ndim == 2:
        initialisation = "default"  # only convolutions are He's
    variances = {
        "default": 1 / (3 * fan_in),  # of the uniform law in +-1/sqrt(fan_in)
        "he": 2 / fan_out,
        "xavier": 2 / (fan_in + fan_out),
        "lecun": 1 / fan_in,
        "kernel": 2 / fan_in,
        "kaiming": 2 / fan_in,
    }
    return variances[initialisation] ** 0.5


@every_network
def test_initial_law(name):
    network = create(name)
    initialisation = law(name)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            values = module.weight.detach().flatten()
            # Four standard errors of the root mean square of normal numbers; those of the other laws are smaller.
            error = 4 / (2 * len(values)) ** 0.5
            assert abs(values.square().mean().sqrt() / weight_std(initialisation, module) - 1) < error
            if initialisation == "default":
                assert values.abs().max() <= module.weight[0].numel() ** -0.5
            if hasattr(module, "weight_g"):
                lengths = module.weight.flatten(1).norm(dim=1)
                torch.testing.assert_close(module.weight_g.flatten(), lengths)
        elif isinstance(module, torch.nn.GroupNorm | torch.nn.BatchNorm2d):
            assert module.weight.eq(1).all() and module.bias.eq(0).all()
    for key, buffer in network.named_buffers():
        assert buffer.eq(1 if key.endswith("running_var") else 0).all()


@every_network
def test_initial_biases(name):
    initialisation = law(name)
    layers = [m for m in create(name).modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    biased = [layer for layer in layers if layer.bias is not None]
    assert biased
    if initialisation == "kernel":
        biases = torch.cat([layer.bias.detach() for layer in biased])
        assert abs(biases.square().mean().sqrt() / 0.1 - 1) < 4 / (2 * len(biases)) ** 0.5
        assert all(layer.bias.ne(0).all() for layer in biased)
    elif initialisation in ("xavier", "lecun"):
        assert all(layer.bias.eq(0).all() for layer in biased)
    else:
        assert all(layer.bias.abs().max() <= layer.weight[0].numel() ** -0.5 for layer in biased)
        assert all(layer.bias.ne(0).any() for layer in biased)


def test_lecun_weights_are_normal_up_to_two_standard_deviations():
    settings = ConvNet(kind="convnet", depth=1, width=128, norm="none", initialisation="lecun")
    weights = networks.create(settings, 128, 8, CLASSES, generator(0)).features[0].weight.detach().flatten().double()
    sigma = (128 * 9) ** -0.5 / 0.8796256610342398
    assert 1.99 * sigma < weights.abs().max() <= 2 * sigma
    erf = torch.special.erf
    expected = 0.5 + 0.5 * erf(weights.sort().values / sigma / 2**0.5) / erf(torch.tensor(2**0.5, dtype=torch.float64))
    observed = torch.arange(1, len(weights) + 1) / len(weights)
    assert (expected - observed).abs().max() < 1.95 / len(weights) ** 0.5  # Kolmogorov-Smirnov at 0.1 %


def test_unknown_layers_are_refused():
    with pytest.raises(TypeError, match="PReLU"):
        networks.initialise_(torch.nn.Sequential(torch.nn.PReLU()), generator(0))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "convnet", "depth": 4}, "depth 4"),
        ({"kind": "resnet", "blocks": [1] * 5, "widths": [4] * 5, "downsampling": "avgpool"}, "downsampling"),
        ({"kind": "densenet", "blocks": [1] * 5}, "fewer blocks"),
        ({"kind": "densenet", "blocks": [1] * 4, "norm": "instance"}, "norm to batch, or use fewer blocks"),
        ({"kind": "resnet", "blocks": [1] * 4}, "norm to batch, or use fewer stages"),
        ({"kind": "lenet"}, "28x28 or 32x32, not 8x8"),
        ({"kind": "plain", "layer": "convolution", "depth": 4, "pooled": [1, 2, 3, 4]}, "pooled: 4 poolings"),
    ],
)
def test_networks_that_do_not_fit_are_refused(spec, message):
    with pytest.raises(UserError, match=message):
        networks.build(TypeAdapter(Network).validate_python(spec), 1, 8, CLASSES)


def test_stages_of_a_resnet_have_one_width_each():
    with pytest.raises(ValidationError, match="one number a stage each, not 3 and 4"):
        TypeAdapter(Network).validate_python({"kind": "resnet", "blocks": [1, 1, 1]})
