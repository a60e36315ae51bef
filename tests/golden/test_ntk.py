"""NNGP and NTK matrices of neural-tangents, and what each layer makes of a covariance of all pairs of pixels."""

import pytest
import torch
from limits import CHUNK, chw, recursion_of
from torch import Tensor

from ddpipe.kernels import cross
from ddpipe.kernels.grid import Grid, halving
from ddpipe.kernels.layers import Pool
from ddpipe.kernels.recursion import Recursion
from ddpipe.settings.limit import Limit

ROUNDING = 5e-9  # the library's own, where two patches coincide; half a digit of float64 below a square root


@pytest.fixture
def ntk(case):
    return case("ntk")


@pytest.mark.variants_of("ntk")
def test_kernels(ntk, variant):
    spec, pair = ntk.config["variants"][variant], ntk.config["coincident_pair"]
    one, other = (chw(ntk[f"{spec['group']}_x{i}"]) for i in (1, 2))
    found, expected = cross(recursion_of(spec, spec), one, other, CHUNK), ntk[spec["key"]]
    assert float((found - expected).abs().max()) <= 2 * ROUNDING * float(expected.abs().max())
    if spec["group"] == pair["group"]:
        at = pair["row"], pair["col"]
        ntk.check(found[at], expected[at], "coincident_pair", "float64")
        found[at] = expected[at]
    ntk.check(found, expected, variant)


@pytest.mark.variants_of("ntk")
def test_kernels_in_single_precision(ntk, variant):
    spec, pair = ntk.config["variants"][variant], ntk.config["coincident_pair"]
    one, other = (chw(ntk[f"{spec['group']}_x{i}"]).float() for i in (1, 2))
    found, expected = cross(recursion_of(spec, spec), one, other, CHUNK), ntk[spec["key"]]
    if spec["group"] == pair["group"]:
        found[pair["row"], pair["col"]] = expected[pair["row"], pair["col"]]
    ntk.check(found, expected, variant, "float32")


def told(covariance: Tensor, grid: Grid) -> Tensor:
    """Packed pairs (1, 1, A, B) of pixels in the case's order, [h, w, h', w']: those of the first image first."""
    ends = [list(zip(axis.first.tolist(), axis.second.tolist(), strict=True)) for axis in (grid.rows, grid.columns)]
    height, width = (int(axis.first.max()) + 1 for axis in (grid.rows, grid.columns))
    full = covariance.new_full((height, width, height, width), torch.nan)
    for a, (h, below) in enumerate(ends[0]):
        for b, (w, right) in enumerate(ends[1]):
            full[h, w, below, right] = covariance[0, 0, a, b]
    return full


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_every_layer(ntk, kind):
    """The trace of one pair of images, whose covariance holds all pairs of pixels."""
    law = ntk.config["trace"]
    one, other = chw(ntk["E_x1"]), chw(ntk["E_x2"])
    sides = one.shape[2:]
    grid, small = (Grid(*(n // by for n in sides), max(sides), one.dtype, one.device) for by in (1, 2))
    recursion = Recursion(Limit("convolution", 2, (2,)), kind, law["W_var"] ** 0.5, law["b_std"])
    mine, theirs = recursion.variances(one), recursion.variances(other)
    k, t = recursion.inputs(one, other, grid), None

    def check(found, key):
        ntk.check(found, ntk[f"E_{key}_{kind}"], "trace")

    for number in (0, 1):
        k, t = recursion.linear(k, t, grid, fan_in=1)
        check(told(k if t is None else t, grid), f"{2 * number}conv")
        q, r = grid.first(mine[number]).unsqueeze(1), grid.second(theirs[number]).unsqueeze(0)
        k, t = recursion.rectified(k, t, q, r, grid, "none")
        check(told(k if t is None else t, grid), f"{2 * number + 1}relu")
    k, t = (None if x is None else Pool.apply(x, halving(grid, small)) for x in (k, t))
    check(told(k if t is None else t, small), "4pool")
    k, t = (None if x is None else x[0, 0][small.same].mean() for x in (k, t))
    check(k if t is None else t, "5flatten")
    k, t = recursion.linear(k, t, None, fan_in=1)
    check(k if t is None else t, "6dense")
    check(cross(recursion, one, other, CHUNK)[0, 0], "6dense")
