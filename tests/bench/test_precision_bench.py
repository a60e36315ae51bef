"""What bfloat16 costs in accuracy: networks trained on digits in either precision from the same first weights.

TensorFloat32 exists on GPUs alone: there the same scene tells its effect, which nobody has measured yet.
"""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ddpipe import settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.readers import digits
from ddpipe.datasets.resident import Resident
from ddpipe.evaluation import Examination, TrainingSet
from ddpipe.randomness import Streams
from ddpipe.synthetic import Batch

NETWORKS, IPC, CLASSES = 20, 10, 10
ARCHITECTURE = settings.ConvNet(kind="convnet", depth=2, width=16)
RULES = {"epochs": 100, "extra_epoch": True, "augment": "color_crop_cutout_scale_rotate", "networks": NETWORKS}

pytestmark = pytest.mark.bench


def accuracies(precision: str, device: str) -> torch.Tensor:
    """(NETWORKS,) percent of the test digits."""
    source = digits.read("digits", settings.Dataset(source="digits"), Path())
    train, labels, test = torch.cat([*source.train.images()]), source.train.labels, source.test
    preprocessing = fit(train, settings.Dataset(source="digits"))
    rows = torch.cat([(labels == label).nonzero().flatten()[:IPC] for label in range(CLASSES)])
    images = Resident(train[rows], labels[rows], preprocessing, device).batch(torch.arange(len(rows)))
    targets = F.one_hot(labels[rows], CLASSES).float().to(device)
    judge = Examination(
        ARCHITECTURE,
        settings.Trained.model_validate(RULES | {"precision": precision}),
        Resident(torch.cat([*test.images()]), test.labels, preprocessing, device),
        CLASSES,
        flip=False,
    )
    data = TrainingSet(lambda index: Batch(images[index], targets[index]), len(images))
    return torch.tensor([judge.accuracies(data, [Streams("precision", n)])[0] for n in range(NETWORKS)])


@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("tf32", marks=pytest.mark.gpu)])
def test_the_accuracy_of_a_precision(precision, table):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "tf32" and device == "cpu":
        pytest.skip("on a CPU tf32 is float32")
    mine, plain = (accuracies(each, device) for each in (precision, "float32"))
    gap, error = float((mine - plain).mean()), float((mine - plain).std()) / math.sqrt(NETWORKS)
    table.append(
        (
            f"{precision} / float32, digits, IPC {IPC}",
            float(mine.mean()),
            float(plain.mean()),
            "%",
            float(mine.mean() / plain.mean()),
        )
    )
    print(f"{precision} less float32: {gap:+.2f} +- {error:.2f} points, spread {float(plain.std()):.2f}")
    assert not torch.equal(mine, plain) and abs(gap) < 1.0
