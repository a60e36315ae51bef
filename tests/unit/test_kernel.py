"""Kernels of finite features, and the regression that they are for."""

import pytest
import torch

from ddpipe.errors import UserError
from ddpipe.objectives.ridge import predictions
from ddpipe.randomness import generator
from ddpipe.students.kernel import Features
from ddpipe.synthetic import Batch
from ddpipe.training.loop import Diverged
from ddpipe.training.ridge import coefficients

N, M, WIDTH, CLASSES = 5, 7, 4, 3


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator("kernel", shape), dtype=torch.float64)


REAL, SHOWN, WEIGHT, TARGETS = normal(M, 1, 2, 2), normal(N, 1, 2, 2), normal(4, WIDTH), normal(N, CLASSES)


def embed(images: torch.Tensor) -> torch.Tensor:
    return (images.flatten(1) @ WEIGHT).tanh()


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
def test_it_is_scaled_products_and_a_shift_whatever_is_seen_at_once(chunk: int) -> None:
    shown, sizes = SHOWN.clone().requires_grad_(), []

    def seen(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return embed(images)

    kernel = Features(seen, chunk, scale=2.0, shift=0.5)
    across, own = kernel.cross(REAL, shown), kernel.own(shown)
    assert max(sizes) <= chunk and sum(sizes) == N + M, "the set's features are computed once"
    torch.testing.assert_close(across, 2 * embed(REAL) @ embed(shown).T + 0.5)
    torch.testing.assert_close(own, 2 * embed(shown) @ embed(shown).T + 0.5)
    (slope,) = torch.autograd.grad(across.sum() + own.square().sum(), shown)
    plain = (2 * embed(REAL) @ embed(shown).T + 0.5).sum() + (2 * embed(shown) @ embed(shown).T + 0.5).square().sum()
    torch.testing.assert_close(slope, torch.autograd.grad(plain, shown)[0])
    again = N if chunk < N else 0  # once more on the way back, where not all was held
    assert max(sizes) <= chunk and sum(sizes) == N + M + again


def test_other_images_have_other_features() -> None:
    kernel = Features(embed, 100)
    assert not torch.equal(kernel.own(SHOWN), kernel.own(2 * SHOWN))
    torch.testing.assert_close(kernel.own(SHOWN), embed(SHOWN) @ embed(SHOWN).T)


def test_the_coefficients_solve_the_regularised_system_and_so_do_their_derivatives() -> None:
    root = normal(N, N)
    kernel, targets = (root @ root.T).requires_grad_(), TARGETS.clone().requires_grad_()
    expected = torch.linalg.inv(kernel + 0.1 * kernel.trace() / N * torch.eye(N)) @ targets
    found = coefficients(kernel, targets, 0.1)
    torch.testing.assert_close(found, expected)
    weights = normal(N, CLASSES)
    wanted = torch.autograd.grad((expected * weights).sum(), [kernel, targets])
    # of a symmetric matrix there are many derivatives: along symmetric changes they agree
    mine = torch.autograd.grad((found * weights).sum(), [kernel, targets])
    torch.testing.assert_close(mine[0] + mine[0].T, wanted[0] + wanted[0].T)
    torch.testing.assert_close(mine[1], wanted[1])
    assert coefficients(kernel.float(), targets.float(), 0.1).dtype == torch.float64


def test_a_kernel_without_a_solution_says_so_and_one_that_is_lost_stays_lost() -> None:
    singular = -torch.eye(N)
    with pytest.raises(Diverged, match=r"^regularisation: .* raise it"):
        coefficients(singular, TARGETS, 0.1)
    lost = torch.full((N, N), torch.nan)
    assert not bool(coefficients(lost, TARGETS, 0.1).isfinite().any())
    wrong = Features(lambda images: embed(images), 100, scale=-1.0)
    with pytest.raises(UserError, match=r"^objective\.regularisation: "):
        predictions(wrong, REAL, Batch(SHOWN, TARGETS), 0.1)


def test_predictions_are_those_of_a_head_on_the_features() -> None:
    found = predictions(Features(embed, 100), REAL, Batch(SHOWN, TARGETS), 0.2)
    features = embed(SHOWN)
    penalty = 0.2 * features.square().sum() / N
    head = torch.linalg.solve(features.T @ features + penalty * torch.eye(WIDTH), features.T @ TARGETS)
    torch.testing.assert_close(found, embed(REAL) @ head)
