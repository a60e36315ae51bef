"""GTN composed of parts gives the loss and the gradients of the straight-line reference, over twelve steps."""

import pytest
import torch

from ddpipe import networks, settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import make
from ddpipe.objectives.unroll import Unroll
from ddpipe.randomness import Streams, generator
from ddpipe.settings.synthetic.generator import Generator
from ddpipe.students import Student
from tests.contexts import context
from tests.reference.gtn import meta_loss

CHANNELS, CLASSES, STEPS, REAL = 2, 3, 12, 6


def resident(side: int) -> Resident:
    labels = torch.arange(16) % CLASSES
    pixels = torch.randint(256, (len(labels), CHANNELS, side, side), generator=generator("real")).byte()
    return Resident(pixels, labels, fit(pixels, settings.Dataset(source="digits"), torch.float64))


@pytest.mark.parametrize("side", [8, 11])
@pytest.mark.parametrize("how", ["exact", "full"])
@pytest.mark.parametrize("every", [None, 1, 5])
def test_loss_and_gradients(every, how, side):
    real = resident(side)
    learner = settings.Learner(kind="learner", widths=(3, 4), halved=(1, 2), halving="pool", hidden=5)
    network = networks.create(learner, CHANNELS, side, CLASSES, generator("network")).double()
    record = Generator(name="generator", batches=STEPS, batch=5, noise=4, hidden=6, maps=(4, 3))
    synthetic = make(record, context(real, 2, rng=Streams("start"))).double()
    config = settings.objectives.unroll.Unroll(
        **{"name": "unroll", "steps": STEPS, "blocks": STEPS, "lr": 0.05, "rates": "log", "momentum": 0.5},
        **{"momenta": "log", "every": every, "batch": REAL, "gradient": how},
    )
    made = Unroll(config, real, 0, Augment("none"))
    spread = torch.randn(2, STEPS, dtype=torch.float64, generator=generator("rates")) / 10
    assert made.raw_momenta is not None
    made.raw = (made.raw.detach().double() + spread[0]).requires_grad_()
    made.raw_momenta = (made.raw_momenta.detach().double() + spread[1]).requires_grad_()

    looks = [t for t in range(1, STEPS) if every and t % every == 0] + [STEPS]
    again = Unroll(config, real, 0, Augment("none"))
    rng = Streams("draws")("real")
    judging = {t: again.passes.next(rng) for t in looks}
    weights = list(synthetic.network.parameters())
    start = [p.detach() for p in network.parameters()]
    value = meta_loss(weights, synthetic.noise, made.raw, made.raw_momenta, start, CLASSES, judging)

    (loss,) = made.losses(synthetic, Student(network), real, Augment("none"), Streams("draws"))
    learned = [synthetic.noise, made.raw, made.raw_momenta, *weights]
    torch.testing.assert_close(loss.value, value.detach())
    expected = torch.autograd.grad(value, learned)
    top = max(float(gradient.abs().max()) for gradient in expected)
    for found, gradient in zip(loss.gradients(learned), expected, strict=True):
        torch.testing.assert_close(found, gradient, rtol=1e-7, atol=1e-11 * top)  # gains before a norm: about 0
    given = made.hints(synthetic)
    torch.testing.assert_close(given["momentum"], made.raw_momenta.detach().exp())
    torch.testing.assert_close(given["lr"], made.raw.detach().exp())
    assert [int((given["blocks"] == t).sum()) for t in range(STEPS)] == [5] * STEPS
