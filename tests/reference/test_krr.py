"""RFAD and FRePo composed of parts learn the set of the straight-line references."""

from itertools import islice

import pytest
import torch

from tests.reference.regressing import Scene, composed, straight

SCENES = [Scene("rfad", 30, chunk=10), Scene("frepo", 30, chunk=4), Scene("frepo", 30, flipped=True)]


@pytest.mark.parametrize("scene", SCENES)
def test_the_set_is_the_same(scene: Scene) -> None:
    run = composed(scene)
    for _ in range(scene.iterations):
        run.advance()
    found = list(islice(straight(scene), scene.iterations))
    images, targets = (part.detach() for part in run.synthetic.decode())
    torch.testing.assert_close(run.history, torch.tensor([loss for *_, loss in found]))
    torch.testing.assert_close(images, found[-1][0], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(targets, found[-1][1], rtol=1e-6, atol=1e-8)
    assert scene.method == "rfad" or run.students.replaced >= 2, "some must have been replaced"
