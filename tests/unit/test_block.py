"""The ConvNet's written-out block beside torch's layers: values, two derivatives, several at once."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.func import functional_call, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from ddpipe.networks import block as written
from ddpipe.networks.block import block, twice, written_out
from ddpipe.networks.convnet import ConvNet
from ddpipe.objectives.gradient import network_gradient
from ddpipe.randomness import generator
from ddpipe.training.batch import Batch
from ddpipe.training.sweep import Gradient

EPS = 1e-5
SHAPES = [(3, 4, 6, 8), (2, 3, 7, 5), (1, 2, 7, 7), (1, 1, 2, 2), (5, 16, 3, 3)]
NETWORKS = [(1, 28, 3, 3), (1, 28, 1, 3), (3, 32, 4, 3), (1, 8, 5, 2), (3, 15, 2, 3)]  # c, side, n, depth
VIEWS = {"view", "_unsafe_view", "expand", "transpose", "t", "detach", "alias", "slice", "select", "split"}
VIEWS |= {"split_with_sizes", "unsqueeze", "squeeze", "as_strided", "_reshape_alias"}


@pytest.fixture(autouse=True)
def no_map_is_small(monkeypatch):
    monkeypatch.setattr(written, "SMALL", 0)


class Counted(TorchDispatchMode):
    """Operations of a device: views are none."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += func.overloadpacket.__name__ not in VIEWS
        return func(*args, **(kwargs or {}))


def layers(x: Tensor, w: Tensor, b: Tensor, eps: float) -> Tensor:
    return F.avg_pool2d(F.relu(F.group_norm(x, len(w), w, b, eps)), 2)


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=generator("block", *shape), dtype=dtype).requires_grad_()


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    return normal(*shape, dtype=dtype), normal(shape[1], dtype=dtype), normal(shape[1], 1, dtype=dtype)[:, 0]


def derivatives(function, given: tuple[Tensor, ...], wanted: tuple[int, ...]) -> tuple[Tensor, ...]:
    """The output, its gradients by what is wanted, and the gradients of a function of these by all."""
    out = function(*given, EPS)
    first = grad((out * out.detach().cos()).sum(), [given[i] for i in wanted], create_graph=True)
    second = grad(sum((g.square() * g.detach().cos()).sum() for g in first), given, materialize_grads=True)
    return out, *first, *second


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape", SHAPES)
def test_two_derivatives_are_those_of_the_layers(shape, wanted):
    given = inputs(shape)
    for mine, theirs in zip(derivatives(block, given, wanted), derivatives(layers, given, wanted), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_two_derivatives_are_those_of_differences(shape):
    given = tuple(part.detach().requires_grad_() for part in inputs(shape))
    assert gradcheck(lambda *parts: block(*parts, EPS), given)
    assert gradgradcheck(lambda *parts: block(*parts, EPS), given)


@pytest.mark.parametrize("image", [0.0, 3.0])
def test_a_map_without_variance(image):
    given = torch.full((2, 3, 4, 4), image, dtype=torch.float64).requires_grad_(), *inputs((2, 3, 4, 4))[1:]
    mine, theirs = (derivatives(function, given, (0, 1, 2)) for function in (block, layers))
    assert all(part.isfinite().all() for part in mine)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_strides_do_not_matter():
    x, w, b = inputs((4, 3, 6, 6))
    last = x.detach().to(memory_format=torch.channels_last).requires_grad_()
    for images in (x.detach().transpose(2, 3)[::2].requires_grad_(), last):
        given = images, w.detach().expand(2, 3)[1].requires_grad_(), b
        mine, theirs = (derivatives(function, given, (0, 1, 2)) for function in (block, layers))
        for one, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_a_third_derivative_is_refused():
    given = inputs((2, 3, 4, 4))
    [first] = grad(block(*given, EPS).square().sum(), given[0], create_graph=True)
    [second] = grad(first.square().sum(), given[0], create_graph=True)
    with pytest.raises(RuntimeError, match="two derivatives"):
        grad(second.sum(), given[0])


@pytest.mark.parametrize("dims", [(0, 0, 0), (1, 0, 0), (0, None, None), (None, 0, 0), (0, 0, None)])
def test_several_at_once(dims):
    """Derivatives outside and inside of vmap."""
    x, w, b = normal(2, 3, 4, 6, 5), normal(2, 4), normal(4, 2).T
    given = tuple(part if dim is not None else part[0] for part, dim in zip((x, w, b), dims, strict=True))
    given = given[0].movedim(0, 1) if dims[0] == 1 else given[0], *given[1:]
    given = tuple(part.detach().requires_grad_() for part in given)

    def outside(function):
        return derivatives(lambda *parts: vmap(lambda *own: function(*own, EPS), dims)(*parts[:-1]), given, (0, 1, 2))

    def once(function, *parts):
        return torch.func.grad(lambda *own: function(*own, EPS).pow(3).sum(), (0, 1, 2))(*parts)

    def twofold(function, *parts):
        return torch.func.grad(lambda *own: sum(g.pow(3).sum() for g in once(function, *own)), (0, 1, 2))(*parts)

    pairs = [(outside(block), outside(layers))]
    for inner in (once, twofold):
        own = [vmap(lambda *parts, f=f, i=inner: i(f, *parts), dims)(*given) for f in (block, layers)]
        pairs.append((own[0], own[1]))
    for mine, theirs in pairs:
        for one, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def convnet(c: int, side: int, depth: int, dtype: torch.dtype = torch.float32) -> ConvNet:
    net, rng = ConvNet(c, side, 10, depth=depth, width=6), generator("convnet")
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=rng))
    return net.to(dtype)


@pytest.mark.parametrize(("c", "side", "n", "depth"), NETWORKS)
def test_values_and_gradients_of_the_convnet_keep_their_bits(c, side, n, depth):
    net, x = convnet(c, side, depth), normal(n, c, side, side, dtype=torch.float32)
    labels, learned = torch.arange(n), [x, *net.parameters()]
    plain = net(x)
    with twice():
        written = net(x)
    assert type(written.grad_fn) is type(plain.grad_fn) and torch.equal(written, plain)
    ours, theirs = (grad(F.cross_entropy(logits, labels), learned) for logits in (written, plain))
    kept = network_gradient(net, learned, x, labels, create_graph=True)
    assert all(torch.equal(a, b) and torch.equal(a, k) for a, b, k in zip(ours, theirs, kept, strict=True))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize(("c", "side", "n", "depth"), NETWORKS)
def test_gradients_of_gradients_of_the_convnet(c, side, n, depth, dtype, tolerance):
    net, x = convnet(c, side, depth, dtype), normal(n, c, side, side, dtype=dtype)
    # a bias in front of a norm moves nothing
    named = {
        name: p for name, p in net.named_parameters() if p.dim() > 1 or not isinstance(layer(net, name), nn.Conv2d)
    }

    def second(create: bool) -> tuple[Tensor, ...]:
        loss = F.cross_entropy(net(x), torch.arange(n))
        given = grad(loss, list(named.values()), create_graph=True)
        if create:
            given = network_gradient(net, list(named.values()), x, torch.arange(n), create_graph=True)
        return grad(sum((g * g.detach().cos()).sum() for g in given), [x, *named.values()])

    for mine, theirs in zip(second(True), second(False), strict=True):
        assert (mine - theirs).norm() <= tolerance * theirs.norm() and theirs.norm() > 0


def layer(net: nn.Module, name: str) -> nn.Module:
    return net.get_submodule(name.rpartition(".")[0])


def test_every_class_at_once_is_every_class_alone():
    """As gradient matching may do it: weights and images of each class along a vmapped axis."""
    net, x = convnet(1, 28, 3, torch.float64), normal(4, 2, 1, 28, 28)
    named = {name: p.detach() for name, p in net.named_parameters() if p.dim() > 1}
    weights = {name: p.expand(4, *p.shape).clone().requires_grad_() for name, p in named.items()}
    with twice():
        logits = vmap(lambda own, images: functional_call(net, own, (images,)))(weights, x)
    loss = F.cross_entropy(logits.flatten(0, 1), torch.arange(8), reduction="sum") / 2
    given = grad(loss, list(weights.values()), create_graph=True)
    [together] = grad(sum(g.pow(2).sum() for g in given), x)
    for number in range(4):
        matched = [dict(net.named_parameters())[name] for name in named]
        alone = network_gradient(net, matched, x[number], torch.arange(2) + 2 * number, create_graph=True)
        [own] = grad(sum(g.pow(2).sum() for g in alone), x)
        torch.testing.assert_close(together[number], own[number], rtol=1e-9, atol=1e-14)


def test_where_it_is_written_out(monkeypatch):
    image = torch.zeros(2, 1, 8, 8)
    monkeypatch.setattr(written, "SMALL", 2 * 3 * 8 * 8 + 1)
    assert not written_out(image, 4)
    with twice():
        assert written_out(image, 4) and not written_out(image, 3)
        assert written_out(SimpleNamespace(shape=image.shape, device=torch.device("cuda")), 3)
        with torch.autocast("cpu", torch.bfloat16):
            assert not written_out(image, 4)
        with twice(always=True):
            assert written_out(image, 3)
        assert not written_out(image, 3)
    assert not written_out(image, 4)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_under_autocast_it_is_the_layers(precision):
    net, x = convnet(1, 8, 2), normal(3, 1, 8, 8, dtype=torch.float32)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        plain = net(x)
        with twice():
            assert torch.equal(net(x), plain)


def test_operations_of_a_step():
    """Of gradient matching, without the distance, and of a sweep: 400 and more by the layers."""
    net = convnet(3, 32, 3)
    x, targets = normal(10, 3, 32, 32, dtype=torch.float32), torch.eye(10)
    gradient = Gradient(net)
    theta = torch.cat([p.detach().flatten() for p in net.parameters()])
    along = torch.ones_like(theta)
    with Counted() as sweep:
        gradient.pull_back(theta, Batch(x, targets), along, ["images", "theta"])
    matched = [p for p in net.parameters() if p.dim() > 1]
    with Counted() as match:
        grad(network_gradient(net, matched, x, targets, create_graph=True), x, matched)
    assert max(sweep.number, match.number) <= 150
