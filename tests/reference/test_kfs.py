"""KFS composed of parts is the plain program, warm start included."""

import pytest

from ddpipe.synthetic.decoder import Decoder
from tests.reference import kfs
from tests.reference.program import Scene

SCENE = Scene("kfs", 2, width=4, num_classes=3, per_class=11, real_batch=6)
WARM, ITERATIONS = 4, 5


@pytest.mark.parametrize("side", [2, 3])  # of a code: 2 reaches 8 as it is, 3 goes beyond
@pytest.mark.parametrize("batch", [None, 4])
def test_a_whole_run_is_that_of_the_plain_program(side: int, batch: int | None) -> None:
    sizes = {"codes": 3, "channels": 2, "side": side, "decoders": 2, "width": 3}
    run = kfs.composed(SCENE, ITERATIONS, sizes, batch, WARM)
    assert isinstance(run.synthetic, Decoder)
    plain = kfs.straight(SCENE, sizes, batch, WARM)
    for number in range(WARM + ITERATIONS):
        before = run.synthetic.decode().images.detach()
        run.advance()
        moved, expected = run.synthetic.decode().images.detach(), next(plain)().detach()
        assert moved.shape == expected.shape == (18, 1, 8, 8)
        assert float((moved - expected).norm() / (expected - before).norm()) < 2e-3, number
    assert run.iteration == run.iterations == len(run.history)
