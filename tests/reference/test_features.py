"""The composed CAFE is the straight one: losses, gradients, and whole runs with their loops."""

import pytest
import torch

from ddpipe import settings
from ddpipe.objectives.features import FeatureAlignment
from tests.reference.features import cafe_loss_and_gradient, straight
from tests.reference.features import composed as composed_run
from tests.reference.noting import Noting
from tests.reference.program import STRATEGY, Scene
from tests.reference.test_reference import REAL_BATCH, check, composed, every_ipc, every_strategy, scene

SCENE = Scene("cafe", ipc=2, width=4, real_batch=8, outer_loop=5, inner_loop=6, num_classes=4, per_class=11)
RULE = {"window": 3, "probe": 5, "settled": 0.1, "moved": 0.15}


@every_ipc
@every_strategy
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("chunk", [1, 6, 512])
def test_feature_alignment(ipc, strategy, norm, chunk):
    network, real, synthetic = scene(ipc, norm)
    augment = Noting(strategy)
    chosen = settings.objectives.features.FeatureAlignment(name="features", chunk=chunk)
    found = composed(FeatureAlignment(chosen, REAL_BATCH), network, real, synthetic, augment)
    check(found, cafe_loss_and_gradient(network, real, synthetic.images, ipc, augment, augment.draws))


def test_the_sign_of_the_discrimination_pulls_the_classes_apart():
    """A step against its gradient makes the real images likelier under the centres; the survey's would do the rest."""
    network, real, synthetic = scene(2)
    before, gradient = cafe_loss_and_gradient(network, real, synthetic.images, 2, discriminating=1.0)
    plain, aligned = cafe_loss_and_gradient(network, real, synthetic.images, 2, discriminating=0.0)
    moved = synthetic.images.detach() - 1e-4 * (gradient - aligned)
    after = cafe_loss_and_gradient(network, real, moved, 2, discriminating=1.0)[0]
    assert after - cafe_loss_and_gradient(network, real, moved, 2, discriminating=0.0)[0] < before - plain


@pytest.mark.parametrize("strategy", ["none", STRATEGY])
def test_a_whole_run_with_its_loops_is_that_of_the_plain_program(strategy):
    iterations = 24
    run, updates = composed_run(SCENE, iterations, strategy, RULE), straight(SCENE, strategy, RULE)
    start = run.synthetic.images.detach().clone()
    for _ in range(iterations):
        run.advance()
        expected, ended = next(updates)
        found = {name: int(value) for name, value in run.hints().items()}
        assert found == ended
    assert ended["networks"] > ended["networks_capped"] > 0 and ended["trainings"] > ended["trainings_capped"] > 0
    moved = (expected - start).norm()
    assert float((run.synthetic.images.detach() - expected).norm() / moved) < 1e-3
    assert torch.isfinite(expected).all()
