"""What the emulator says of captured steps, said by a CUDA device."""

import pytest
import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.experts.training import Cohort
from ddpipe.randomness import Streams
from ddpipe.synthetic import Batch
from ddpipe.training import captured
from ddpipe.training.captured import WARM, Captured
from tests.unit.test_captured import EXPERTS, IMAGES, METHODS, TARGETS, N, network

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("name", METHODS | EXPERTS)
def test_experts(monkeypatch, capsys, name, together):
    """What the emulator says, said by a device: replayed steps are the steps, and the memory comes back."""
    card = torch.device("cuda")
    images, targets = IMAGES.to(card), TARGETS.to(card)
    numbers = {"data": "none", "network": "none", "networks": 1} | (METHODS | EXPERTS)[name]
    config = settings.Experts.model_validate(numbers)

    def trained() -> tuple[Tensor, int]:
        rngs = [Streams("expert", number) for number in range(together)]
        made = Cohort(config, network().to(card), lambda rows: Batch(images[rows], targets[rows]), N, False, rngs)
        for _ in range(config.epochs):
            made.advance()
        return made.snapshots(), len(made.descent.step.kept)

    replayed, shapes = trained()
    assert shapes == 2 and "run.graphs" not in capsys.readouterr().err
    monkeypatch.setattr(captured, "WARM", 10**9)
    called, shapes = trained()
    assert shapes == 0
    torch.testing.assert_close(replayed, called, rtol=1e-3, atol=1e-4)


def test_a_card_goes_on_where_a_step_cannot_be_captured(capsys):
    card = torch.device("cuda")
    here = torch.cuda.current_stream(card)
    made = Captured(lambda x: x * float(x.sum()), captured.recorder(card))
    for number in range(WARM + 3):
        assert float(made(torch.full((2,), float(number), device=card))[0]) == 2.0 * number**2
    assert capsys.readouterr().err.count("run.graphs: ") == 1 and torch.cuda.current_stream(card) == here
    other = Captured(lambda x: x.sum(), captured.recorder(card))
    for number in range(WARM + 3):
        assert float(other(torch.full((2,), float(number), device=card))) == 2.0 * number
    assert len(other.kept) == 1, "another one is captured all the same"


def test_the_memory_of_a_captured_step_comes_back():
    sizes, card = 2**26, torch.device("cuda")
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved(card)
    made = Captured(lambda x: (x * 2 + 1).sum(), captured.recorder(card))
    for _ in range(WARM + 2):
        made(torch.ones(sizes, device=card))
    assert torch.cuda.memory_reserved(card) - before > 4 * sizes
    del made
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved(card) - before < 4 * sizes
