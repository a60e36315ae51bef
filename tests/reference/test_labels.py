"""LD composed of parts gives the labels and the lengths of training of the straight-line reference."""

import pytest
import torch

from ddpipe import networks, settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.datasets.passes import Passes
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import compose
from ddpipe.randomness import Streams, generator
from tests.contexts import context
from tests.reference.labels import learned_labels

SIDE, CLASSES, IPC, ITERATIONS, PATIENCE = 8, 3, 3, 40, 3
SUBSET, BATCH = 4, 9  # examples of the set and real images a step: of 9 and 21, so that passes end within the run
ARCHITECTURE = settings.ConvNet(kind="convnet", depth=2, width=4, norm="none")
OBJECTIVES = {
    "lookahead": {"lr": 0.01, "chunk": 4},
    "regression": {"regularisation": 1.0, "mixing": 0.01, "scale_lr": 0.01},
}


def resident() -> Resident:
    labels = torch.arange(CLASSES).repeat(7)
    images = torch.randint(256, (len(labels), 1, SIDE, SIDE), generator=generator("labels")).to(torch.uint8)
    return Resident(
        images // 4 + 60 * labels[:, None, None, None],
        labels,
        fit(images, settings.Dataset(source="digits"), torch.float64),
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_labels_and_lengths(objective):
    adam = {"optimizer": "adam", "lr": 0.001, "betas": [0.9, 0.999]}
    chosen = settings.Distillation.model_validate(
        {
            "synthetic": {"name": "real"},
            "objective": {"name": objective, "batch": BATCH, "subset": SUBSET, **OBJECTIVES[objective]},
            "students": {"name": "restarted", **adam, "patience": PATIENCE},
            "labels": {"scale": "one-hot", "learned": True, "init": "uniform"},
            "outer": {"targets": adam},
            "iterations": ITERATIONS,
        }
    )
    real, network = resident(), networks.build(ARCHITECTURE, 1, SIDE, CLASSES).double()
    run = compose(chosen, context(real, IPC, network, Streams("labels")))
    images = run.synthetic.decode().images.clone()
    for _ in range(ITERATIONS):
        run.advance()

    rng, passes, own = Streams("labels"), Passes(real, BATCH), networks.build(ARCHITECTURE, 1, SIDE, CLASSES).double()

    def draws():
        while True:
            rows = torch.randperm(len(images), generator=rng("synthetic.batches"))[:SUBSET]
            batch = passes.next(rng("real"))
            Augment("none").draw(rng("augment"), 1, SIDE, SIDE)
            yield rows, *batch

    renew = lambda: networks.initialise_(own, rng("students.init"))  # noqa: E731
    labels, used, left = learned_labels(objective == "regression", own, renew, images, draws(), ITERATIONS, PATIENCE)
    assert len(used) >= 2, "the rule must have replaced some"
    torch.testing.assert_close(run.synthetic.targets.detach(), labels, rtol=1e-8, atol=1e-10)
    assert run.students.rule.restarts == len(used) and run.students.rule.steps == left
    assert float(run.hints()["steps"]) == int(sum(used[-3:]) / len(used[-3:]))
    for mine, theirs in zip(run.students.network.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)
