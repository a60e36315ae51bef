"""GSAM's directions, as geometry; their numbers are held against the official optimiser in tests/golden."""

import pytest
import torch

from ddpipe.randomness import generator
from ddpipe.training.flatness import flat_gradient, flattened, norm, perturbation


def pair(name: str) -> list[torch.Tensor]:
    rng = generator("flat", name)
    return [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((3, 4), (5,))]


def dot(a, b) -> float:
    return float(sum((x * y).sum() for x, y in zip(a, b, strict=True)))


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_what_alpha_takes_away_is_orthogonal_to_the_perturbed_gradient(alpha):
    here, there = pair("here"), pair("there")
    taken = [y - u for y, u in zip(there, flattened(here, there, alpha), strict=True)]
    assert dot(taken, there) == pytest.approx(0, abs=1e-9)
    assert dot(taken, here) == pytest.approx(alpha * (dot(here, here) - dot(here, there) ** 2 / dot(there, there)))
    assert all(torch.equal(u, y) for u, y in zip(flattened(here, there, 0.0), there, strict=True))


def test_the_perturbation_has_length_rho_in_units_of_the_weights_if_adaptive():
    weights, gradient = pair("weights"), pair("gradient")
    assert float(norm(perturbation(weights, gradient, 0.2, False))) == pytest.approx(0.2)
    adaptive = perturbation(weights, gradient, 0.2, True)
    assert float(norm([e / w for e, w in zip(adaptive, weights, strict=True)])) == pytest.approx(0.2)
    assert dot(adaptive, gradient) > 0


def test_a_gradient_of_zero_moves_nothing():
    weights, zero = pair("weights"), [torch.zeros(3, 4, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)]
    assert not any(bool(e.any()) for e in perturbation(weights, zero, 0.2, True))
    assert not any(bool(u.any()) for u in flattened(zero, zero, 1.0))


def test_the_weights_come_back_bit_by_bit():
    weights = pair("weights")
    before = [w.clone() for w in weights]
    met = []

    def gradient() -> list[torch.Tensor]:
        met.append([w.clone() for w in weights])
        return [3 * w for w in weights]

    flat_gradient(weights, gradient, 0.1, 1.0, True)
    assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))
    assert len(met) == 2 and not torch.equal(met[0][0], met[1][0])
