"""Seconds per evaluated network: ours beside a plain loop over a DataLoader with an augmentation for each image.

Both make, train and test a network under the same protocol. Processor time, in turns; on a GPU the time of the clock.
Ours keeps freed memory, as a stage does; the plain loop runs as the C library does by itself. What the options cost and
gain at the field's width is printed beside float32 eager.
"""

import ctypes
import platform
import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import TensorDataset

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.device import keep_freed_memory
from ddpipe.evaluation import Examination, TrainingSet
from ddpipe.randomness import Streams, generator
from ddpipe.synthetic import Batch
from tests.bench.turns import compare
from tests.reference import plain_evaluation

CLASSES = 10
DSA = "color_crop_cutout_flip_scale_rotate"
DIGITS = settings.ConvNet(kind="convnet", depth=2, width=16), 1, 8, False  # architecture, channels, side, flip
WIDE = settings.ConvNet(kind="convnet", depth=3, width=128), 3, 32, True

pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=time.process_time, warmup=False)]


def usual_memory() -> None:
    """The thresholds that glibc reaches by itself once large tensors were freed (their maximum, and twice that)."""
    if platform.libc_ver()[0] == "glibc":
        for option, value in ((-3, 32 * 2**20), (-1, 64 * 2**20)):
            ctypes.CDLL(None).mallopt(option, value)


class Place:
    """A set and test images of one size, and both ways of evaluating networks on them."""

    def __init__(self, shape: tuple, ipc: int, epochs: int, tested: int, device: str = "cpu"):
        self.architecture, self.channels, self.side, self.flip = shape
        self.rules, self.device = settings.Trained(epochs=epochs, extra_epoch=True, augment=DSA), device
        raw = torch.randint(256, (tested, self.channels, self.side, self.side), generator=generator("raw"))
        answers = torch.arange(tested) % CLASSES
        self.test = Resident(
            raw.to(torch.uint8), answers, fit(raw.to(torch.uint8), settings.Dataset(source="digits")), device
        )
        self.plain_test = TensorDataset(self.test.batch(torch.arange(tested)).cpu(), answers)
        labels = torch.arange(CLASSES).repeat_interleave(ipc)
        images = torch.randn(len(labels), self.channels, self.side, self.side, generator=generator("images"))
        self.plain_set = TensorDataset(images, labels)
        here, targets = images.to(device), F.one_hot(labels, CLASSES).float().to(device)
        self.data = TrainingSet(lambda index: Batch(here[index], targets[index]), len(images))

    def ours(self, together: int = 1, compiled: bool = False, **rules) -> Callable[[], object]:
        protocol = self.rules.model_copy(update=rules)
        examination = Examination(self.architecture, protocol, self.test, CLASSES, self.flip, compiled)

        def evaluation() -> None:
            keep_freed_memory()
            examination.accuracies(self.data, [Streams("bench", number) for number in range(together)])

        return evaluation

    def plain(self, networks_: int = 1) -> Callable[[], object]:
        def loop() -> None:
            usual_memory()
            for number in range(networks_):
                network = networks.create(
                    self.architecture, self.channels, self.side, CLASSES, generator("bench", number)
                )
                plain_evaluation.evaluate(
                    *(network, self.rules, self.plain_set, self.plain_test, self.flip),
                    *(generator("plain", number), self.device),
                )

        return loop


@pytest.mark.parametrize(
    ("name", "shape", "ipc", "epochs", "least", "faster"),
    [
        ("digits, 1 image per class", DIGITS, 1, 100, 40, 1.5),
        ("digits, 10 images per class", DIGITS, 10, 30, 40, 3.0),
        ("32x32, width 128, 1 image per class", WIDE, 1, 4, 15, 1.0),
        ("32x32, width 128, 10 images per class", WIDE, 10, 1, 9, 1.0),
    ],
)
def test_seconds_per_evaluated_network(benchmark, table, name, shape, ipc, epochs, least, faster):
    place = Place(shape, ipc, epochs, tested=500 if shape is DIGITS else 20)
    mine, plain, ratio = compare(benchmark, place.ours(), place.plain(), least)
    table.append((f"{name}: {epochs + 1} passes", mine * 1000, plain * 1000, "ms", ratio))
    assert ratio * faster <= 1


@pytest.mark.parametrize("ipc", [1, 10])
def test_five_digits_networks_together_on_a_cpu(benchmark, table, ipc):
    place = Place(DIGITS, ipc, epochs=20, tested=500)
    one_by_one = place.ours()
    mine, plain, ratio = compare(benchmark, place.ours(together=5), lambda: [one_by_one() for _ in range(5)], least=20)
    table.append((f"digits, IPC {ipc}: five together / one by one", mine * 1000, plain * 1000, "ms", ratio))
    assert ratio <= 2, "run.together is worse than useless"


@pytest.mark.parametrize("ipc", [1, 10])
@pytest.mark.parametrize("option", [{"compiled": True}, {"precision": "bfloat16"}, {"together": 5}], ids=str)
def test_options_at_the_fields_width(benchmark, table, ipc, option):
    place = Place(WIDE, ipc, epochs=2 if ipc == 1 else 1, tested=20)
    count, eager = option.get("together", 1), place.ours()
    mine, plain, ratio = compare(
        benchmark, place.ours(**option), lambda: [eager() for _ in range(count)], least=10 if ipc == 1 else 5
    )
    (name, value), *_ = option.items()
    table.append((f"width 128, IPC {ipc}: {name} {value} / float32 eager", mine * 1000, plain * 1000, "ms", ratio))
    assert ratio <= 4, f"{name} is worse than useless"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.benchmark(timer=time.perf_counter, warmup=False)
@pytest.mark.parametrize("shape", [DIGITS, WIDE], ids=["digits", "width 128"])
@pytest.mark.parametrize("ipc", [1, 10])
def test_five_networks_together_on_a_gpu(benchmark, table, shape, ipc):
    """The accuracies are Python numbers, so both sides end when the device has finished."""
    place = Place(shape, ipc, epochs=30, tested=500, device="cuda")
    mine, plain, ratio = compare(benchmark, place.ours(5), place.plain(5), 10, time.perf_counter)
    table.append((f"GPU, {shape[2]}x{shape[2]}, IPC {ipc}: five together", mine * 1000, plain * 1000, "ms", ratio))
    assert ratio * 10 <= 1
