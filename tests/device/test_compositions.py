"""Every composition runs on a device: nothing lies on the wrong side, and the numbers are those of the CPU."""

import pytest
import torch
from torch import Tensor

from tests.contracts.compositions import (
    FIRST,
    OBJECTIVE,
    SETS,
    SOME,
    STRATEGY,
    SYNTHETIC,
    advanced,
    of,
    partner,
    run_of,
    serves,
)

pytestmark = pytest.mark.usefixtures("buffers")

COMPOSED = [
    *((objective, pool, "pixels-real", "none") for objective, pool in SOME),
    *((objective, partner(objective), *beside) for objective in FIRST.values() for beside in SETS[1:]),
    *((objective, partner(objective), "pixels-real", "none") for objective in OBJECTIVE),
    *(("distribution", "fresh", start, "none") for start in SYNTHETIC),
    *((objective, pool, "latents", "partners") for objective, pool in SOME if serves("partners", pool)),
]


def at_home(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in state.items()}


@pytest.mark.parametrize(("objective", "pool", "start", "regulariser"), dict.fromkeys(COMPOSED))
def test_a_composition_learns_on_a_device_what_it_learns_on_the_cpu(objective, pool, start, regulariser, device):
    chosen = of(objective, pool, STRATEGY, start, regulariser)
    here, there = (advanced(run_of(chosen, device=place), 2) for place in ("cpu", device))
    there.check_finite()
    assert there.history.device.type == device.type
    for name, value in at_home(there.state_dict()).items():
        torch.testing.assert_close(value, here.state_dict()[name].detach(), rtol=1e-4, atol=1e-5, msg=name)
