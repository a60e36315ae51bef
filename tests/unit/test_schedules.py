"""Step sizes against numbers worked out by hand, and torch's and optax's words for the same."""

import pytest
import torch

from ddpipe import settings
from ddpipe.training import schedules
from ddpipe.training.schedules import factor


def course(schedule, total: int) -> list[float]:
    return [factor(schedule, number, total) for number in range(total)]


HALF, STAGED, NEVER = (settings.Drop(name=name) for name in ("half", "staged", "never"))


def test_never():
    assert course(NEVER, 5) == [1.0] * 5
    assert schedules.rate(settings.Optimizer(lr=0.3), 4, 5) == 0.3


def test_half_is_dcs():
    """300 epochs, 301 passes: passes 0 to 151 at the full rate."""
    assert [factor(HALF, number, 300) for number in (0, 150, 151, 152, 300)] == [1, 1, 1, 0.1, 0.1]


def test_staged_is_idcs():
    found = [factor(STAGED, number, 1000) for number in (0, 665, 666, 832, 833, 999)]
    assert found == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])


def test_steps():
    schedule = settings.Steps(name="steps", at=(2, 4), factor=0.5)
    assert course(schedule, 6) == [1, 1, 0.5, 0.5, 0.25, 0.25]
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4], 0.5)
    for mine in course(schedule, 6):
        assert optimizer.param_groups[0]["lr"] == mine
        optimizer.step()
        theirs.step()


def test_cosine():
    """Worked out by hand: half a cosine over four steps, at 0, 45, 90 and 135 degrees; 180 would be the fifth."""
    found = course(settings.Cosine(name="cosine"), 4)
    assert found == pytest.approx([1, (1 + 2**-0.5) / 2, 0.5, (1 - 2**-0.5) / 2])
    assert (
        factor(settings.Cosine(name="cosine"), 4, 4) == pytest.approx(0) == factor(settings.Cosine(name="cosine"), 9, 4)
    )


def test_cosine_with_a_warm_up_and_a_last_value():
    """FRePo's: a line from 0, then from 1 to the last value over the rest."""
    schedule = settings.Cosine(name="cosine", warmup=4, last=0.2)
    assert course(schedule, 8)[:5] == [0, 0.25, 0.5, 0.75, 1]
    assert factor(schedule, 6, 8) == pytest.approx(0.6)  # half way: the mean of 1 and 0.2
    assert factor(schedule, 8, 8) == pytest.approx(0.2)


@pytest.mark.parametrize("total", [1, 2, 3, 4])
def test_a_warm_up_as_long_as_the_run_only_rises(total):
    assert course(settings.Cosine(name="cosine", warmup=4, last=0.2), total) == [0, 0.25, 0.5, 0.75][:total]
