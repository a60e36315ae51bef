"""RFAD and FRePo composed of parts learn the set of the straight-line references."""

from itertools import islice

import pytest
import torch

from ddpipe import networks, settings
from ddpipe.datasets.passes import Passes
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.randomness import Streams, generator
from tests.contexts import context
from tests.reference.krr import frepo, rfad

SIDE, CLASSES, IPC, ITERATIONS, BATCH = 8, 3, 2, 30, 9
PLAIN = settings.ConvNet(kind="convnet", depth=2, width=4, norm="none", first_padding=1, initialisation="kernel")
NORMED = settings.ConvNet(kind="convnet", depth=2, width=(4, 8), norm="flax", initialisation="lecun")
LAMB = {"optimizer": "lamb", "lr": 0.003, "betas": [0.9, 0.999], "schedule": {"name": "cosine", "last": 0.1}}


def resident() -> Resident:
    labels = torch.arange(CLASSES).repeat(7)
    images = torch.randint(256, (len(labels), 1, SIDE, SIDE), generator=generator("krr")).to(torch.uint8)
    pixels = images // 4 + 60 * labels[:, None, None, None]
    return Resident(pixels, labels, fit(pixels, settings.Dataset(source="digits"), torch.float64))


def belief(lr: float) -> dict:
    return {"optimizer": "adabelief", "lr": lr, "betas": [0.9, 0.999]}


def of_rfad() -> settings.Distillation:
    return settings.Distillation.model_validate(
        {
            "synthetic": {"name": "transformed", "init": "real"},
            "objective": {
                **{"name": "ridge", "regularisation": 0.005, "criterion": "platt", "batch": BATCH, "passes": False},
                "batches": 2,
            },
            "students": {"name": "ensemble", "networks": 3, "scale": 2.0, "shift": 0.01, "chunk": 10},
            "labels": {"scale": "centred", "learned": False, "init": "hard"},
            "outer": {"images": belief(0.001), "transform": belief(0.00005), "temperature": belief(0.01)},
            "iterations": ITERATIONS,
        }
    )


def of_frepo(flipped: bool) -> settings.Distillation:
    return settings.Distillation.model_validate(
        {
            "synthetic": {"name": "pixels", "init": "real"},
            "objective": {"name": "ridge", "batch": BATCH, "flipped": flipped, "margin": True},
            "students": {"name": "pool", "networks": 3, "life": 4, "optimizer": "adam", "chunk": 4},
            "labels": {"scale": "centred", "learned": True, "init": "hard"},
            "outer": {"images": LAMB, "targets": LAMB},
            "iterations": ITERATIONS,
        }
    )


def run_of(chosen: settings.Distillation, architecture: settings.ConvNet) -> Distillation:
    network = networks.build(architecture, 1, SIDE, CLASSES).double()
    return compose(chosen, context(resident(), IPC, network, Streams("krr"), architecture=architecture))


def test_rfad():
    run = run_of(of_rfad(), PLAIN)
    x, y = (part.detach().clone() for part in run.synthetic.decode())
    for _ in range(ITERATIONS):
        run.advance()
    rng, real = Streams("krr"), resident()

    def batch():
        rows = torch.cat([torch.randperm(len(real.labels), generator=rng("real"))[:BATCH] for _ in range(2)])
        return real.batch(rows), real.labels[rows]

    def renew(network):
        networks.initialise_(network, rng("students.init"))

    several = [networks.build(PLAIN, 1, SIDE, CLASSES).double() for _ in range(3)]
    *_, (images, _) = found = list(islice(rfad(x, y, several, renew, batch, 0.005), ITERATIONS))
    torch.testing.assert_close(run.history, torch.tensor([loss for _, loss in found]))
    torch.testing.assert_close(run.synthetic.decode().images.detach(), images, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("flipped", [False, True])
def test_frepo(flipped):
    run = run_of(of_frepo(flipped), NORMED)
    x, y = (part.detach().clone() for part in run.synthetic.decode())
    for _ in range(ITERATIONS):
        run.advance()
    rng, passes = Streams("krr"), Passes(resident(), BATCH)

    def renew(network):
        networks.initialise_(network.train(), rng("students.init"))

    pool = [networks.build(NORMED, 1, SIDE, CLASSES).double() for _ in range(3)]
    chosen = lambda: int(torch.randint(3, (), generator=rng("students.pool")))  # noqa: E731
    batch = lambda: passes.next(rng("real"))  # noqa: E731
    walk = frepo(x, y, pool, renew, chosen, batch, ITERATIONS, 0.003, 4, flipped)
    *_, (images, targets, _) = found = list(islice(walk, ITERATIONS))
    assert run.students.replaced >= 2, "some must have been replaced"
    torch.testing.assert_close(run.history, torch.tensor([loss for *_, loss in found]))
    torch.testing.assert_close(run.synthetic.images.detach(), images, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(run.synthetic.targets.detach(), targets, rtol=1e-6, atol=1e-8)
