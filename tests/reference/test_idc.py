"""The composed IDC is the straight program: start, sequential steps, and networks that learn real data."""

import pytest

from tests.reference import idc
from tests.reference.program import Scene


@pytest.mark.parametrize("ipc", [1, 2])
def test_a_whole_run_is_that_of_the_plain_program(ipc):
    loops = {"outer_loop": 3, "inner_loop": 4}
    scene = Scene("idc", ipc, width=4, real_batch=8, num_classes=4, per_class=35, **loops)  # 140 images: three batches
    run, updates = idc.composed(scene, 8, lr=0.05), idc.straight(scene, lr=0.05)
    start = run.synthetic.images.detach().clone()
    for _ in range(8):  # three networks
        run.advance()
        expected = next(updates)
    assert ((expected < 0) | (expected > 1)).any(), "a new network's clamp would do nothing"
    assert float((run.synthetic.images.detach() - expected).norm() / (expected - start).norm()) < 1e-3
