"""Every composition runs on a device: nothing lies on the wrong side, and the numbers are those of the CPU."""

import pytest
import torch
from torch import Tensor

from tests.contracts.compositions import (
    OBJECTIVE,
    SETS,
    SOME,
    STRATEGY,
    SYNTHETIC,
    advanced,
    of,
    partner,
    run_of,
)

ADDRESSES = ("distribution-batch", "gradient-joint", "trajectory")  # what decodes rows, the whole, rows of every step
pytestmark = pytest.mark.usefixtures("buffers")

COMPOSED = [
    *((objective, pool, "pixels-real", "none") for objective, pool in SOME),
    *((objective, partner(objective), "pixels-real", "none") for objective in OBJECTIVE),
    *((objective, partner(objective), start, "none") for objective in ADDRESSES for start in SYNTHETIC),
    *((objective, partner(objective), *beside) for objective in ADDRESSES for beside in SETS if beside[1] != "none"),
    *((objective, "trained", "latents", "partners") for objective in ("gradient-ours", "reconstruction")),
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
