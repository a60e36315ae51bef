"""Analytical kernels against the straight version, against finite networks that are wide, and against themselves."""

import pytest
import torch
from kernels import kernels

from ddpipe import networks, settings
from ddpipe.kernels import Recursion, cross, own
from ddpipe.kernels.layers import Rectify
from ddpipe.randomness import generator
from ddpipe.settings.limit import Limit

LIMITS = {
    "plain": Limit("convolution", 3),
    "pooled": Limit("convolution", 3, (2, 3)),
    "early": Limit("convolution", 2, (1,)),
    "mean": Limit("convolution", 2, (1,), "mean"),
    "all": Limit("convolution", 2, (), "mean"),
}
SIDES = [(6, 6), (7, 7), (9, 6), (5, 9)]


def images(n: int, height: int, width: int, name: str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, 2, height, width, generator=generator("kernels", name), dtype=dtype)


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
@pytest.mark.parametrize("sides", SIDES, ids=str)
@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_straight_version(limit, sides, kind):
    real, shown = images(3, *sides, "real"), images(2, *sides, "shown")
    found = cross(Recursion(limit, kind), real, shown, 1)
    wanted = [[kernels(y, x, limit.depth, limit.pooled, limit.readout)[kind == "ntk"] for x in shown] for y in real]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("sides", SIDES, ids=str)
@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_gradients_of_the_straight_version(limit, sides):
    """Both sides of the diagonal, and all of its own, which autograd has to be kept from differentiating at 0."""
    real, shown = images(2, *sides, "real"), images(3, *sides, "shown").requires_grad_()
    weights = images(1, 3, 3, "weights")[0]
    recursion = Recursion(limit)

    def straight(x, y):
        return kernels(x, y, limit.depth, limit.pooled, limit.readout)[1]

    found = torch.autograd.grad((cross(recursion, real, shown, 1) * weights[0, :2]).sum(), shown)[0]
    wanted = sum(weights[0, i, j] * straight(real[i], shown[j]) for i in range(2) for j in range(3))
    torch.testing.assert_close(found, torch.autograd.grad(wanted, shown)[0], rtol=1e-9, atol=1e-12)
    found = torch.autograd.grad((own(recursion, shown, 1) * weights[1]).sum(), shown)[0]
    wanted = sum(weights[1, i, j] * straight(shown[i], shown[j]) for i in range(3) for j in range(3) if i != j)
    diagonal = sum(weights[1, i, i] * straight(shown[i], shown[i]) for i in range(3))
    torch.testing.assert_close(found, torch.autograd.grad(wanted + diagonal, shown)[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("limit", [*LIMITS.values(), Limit("dense", 2)], ids=[*LIMITS, "dense"])
def test_the_size_of_blocks_changes_rounding_alone(limit):
    real, shown = images(7, 6, 6, "real"), images(5, 6, 6, "shown").requires_grad_()
    recursion, found = Recursion(limit), []
    each = recursion.entries(shown)
    for pairs in (1, 2, 4, 9, 40):
        kernel = [cross(recursion, real, shown, pairs * each), own(recursion, shown, pairs * each)]
        value = sum((k * k.detach().sin()).sum() for k in kernel)
        found.append([*(k.detach() for k in kernel), torch.autograd.grad(value, shown)[0]])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("t", [True, False], ids=["ntk", "nngp"])
def test_the_derivative_of_a_rectified_covariance_by_finite_differences(t):
    n, m, grid = 1, 2, Recursion(LIMITS["early"]).cone(images(1, 3, 3, "any"))[0]
    draw = generator("rectify")
    q, other = (torch.rand(*shape, 3, 3, generator=draw, dtype=torch.float64) + 1 for shape in ((n, 1), (1, m)))
    a, b = grid.first(q).requires_grad_(), grid.second(other).requires_grad_()
    k = torch.rand(n, m, *grid.size, generator=draw, dtype=torch.float64).mul_(1.8).sub_(0.9).requires_grad_()
    tangent = torch.rand_like(k.detach()).requires_grad_() if t else None
    given = [k, tangent, a, b] if t else [k, a, b]

    def rectified(*tensors):
        k, *rest = tensors
        return Rectify.apply(k, rest[0] if t else None, *rest[-2:], grid, "none")

    assert torch.autograd.gradcheck(rectified, given)


def test_an_image_with_itself_is_exact_in_single_precision():
    """Rounding under the root would leave 3e-4 there; the constant borders are those of handwritten digits."""
    shown = images(4, 8, 8, "shown", torch.float32)
    shown[:, :, :2] = -0.4
    recursion, chunk = Recursion(Limit("convolution", 3, (1, 2, 3))), 10**6
    results = []
    for x in (shown, shown.double()):
        x = x.clone().requires_grad_()
        k = own(recursion, x, chunk)
        results.append((k.detach(), torch.autograd.grad(k.diagonal().sum(), x)[0]))
    for one, other in zip(*results, strict=True):
        assert float((one - other).abs().max()) < 3e-6 * float(other.abs().max())


@pytest.mark.parametrize("readout", ["flatten", "mean"])
def test_nngp_is_the_covariance_of_wide_random_networks(readout):
    """128 of them, as wide as is cheap: the products of their last features, with the readout's weights and bias."""
    config = settings.Plain(kind="plain", layer="convolution", depth=2, width=64, pooled=(2,), readout=readout)
    net, draw = networks.build(config, 2, 6, 3).double(), generator("wide")
    x = images(3, 6, 6, "real")
    total = torch.zeros(3, 3, dtype=torch.float64)
    for _ in range(128):
        with torch.no_grad():
            features = networks.initialise_(net, draw).embed(x)
        total += 2 * features @ features.T / features.shape[1] + 0.01
    exact = own(Recursion(config.limit, "nngp"), x, 10**6)
    torch.testing.assert_close(total / 128, exact, rtol=0.04, atol=0.04 * float(exact.max()))


def test_ntk_is_the_tangent_kernel_of_a_wide_network():
    """In the standard parametrisation, whose law is that of ordinary layers, over the fan-in of the hidden layers."""
    width, draw = 256, generator("wide")
    config = settings.Plain(kind="plain", layer="dense", depth=2, width=width)
    net, x = networks.build(config, 2, 4, 1).double(), images(3, 4, 4, "real")
    total = torch.zeros(3, 3, dtype=torch.float64)
    for _ in range(16):
        networks.initialise_(net, draw)
        rows = [
            torch.cat([g.flatten() for g in torch.autograd.grad(net(one[None])[0, 0], list(net.parameters()))])
            for one in x
        ]
        total += torch.stack(rows) @ torch.stack(rows).T
    exact = own(Recursion(config.limit, "ntk", width=width), x, 10**6)
    torch.testing.assert_close(total / 16, exact, rtol=0.05, atol=0.05 * float(exact.max()))
