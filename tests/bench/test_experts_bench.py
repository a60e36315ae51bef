"""Experts per hour: ours beside the loop one would write, a module, a DataLoader in memory and torch.optim.SGD.

Both begin with fresh weights, go over the same images in a random order, augmented as the buffers of that size say (the
DataLoader image by image), and keep a copy of all weights before training and after every pass. Processor time, in
turns; on a GPU the time of the clock.
"""

import time

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.experts.training import Cohort, real_batches
from ddpipe.randomness import Streams, generator
from ddpipe.training.together import fastest
from tests.bench.turns import compare
from tests.reference.plain_evaluation import Augmented

CLASSES = 10
DSA = "color_crop_cutout_flip_scale_rotate"
NARROW, WIDE = (settings.ConvNet(kind="convnet", depth=depth, width=width) for depth, width in ((2, 16), (3, 128)))
DIGITS = NARROW, 1, 8, 1297, 64, "none"  # network, channels, side, images, batch, augmentation
WIDE_28 = WIDE, 1, 28, 64, 32, DSA
WIDE_32 = WIDE, 3, 32, 64, 32, DSA

pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=time.process_time, warmup=False)]


class Place:
    """Images of one size, and both ways of training experts on them."""

    def __init__(self, shape: tuple, epochs: int, device: str = "cpu"):
        self.architecture, self.channels, self.side, n, batch, augment = shape
        self.config = settings.Experts(
            **{"data": "bench", "network": "bench", "networks": 1, "epochs": epochs, "batch": batch, "lr": 0.01},
            **{"momentum": 0.0, "weight_decay": 0.0, "drop": "never", "keep": "all", "augment": augment},
        )
        self.device = torch.device(device)
        raw = torch.randint(256, (n, self.channels, self.side, self.side), generator=generator("raw")).to(torch.uint8)
        self.real = Resident(raw, torch.arange(n) % CLASSES, fit(raw, settings.Dataset(source="digits")), device)
        self.images, self.labels = self.real.batch(torch.arange(n)).cpu(), torch.arange(n) % CLASSES
        self.network = self.build()

    def build(self) -> networks.Classifier:
        return networks.build(self.architecture, self.channels, self.side, CLASSES, self.device)

    def ours(self, size: int = 1) -> list[torch.Tensor]:
        fetch, n = real_batches(self.real, CLASSES), len(self.labels)
        cohort = Cohort(self.config, self.network, fetch, n, True, [Streams("bench", each) for each in range(size)])
        snapshots = [cohort.snapshots()]
        for _ in range(self.config.epochs):
            cohort.advance()
            snapshots.append(cohort.snapshots())
        return snapshots

    def plain(self) -> list[torch.Tensor]:
        network = networks.initialise_(self.build().train(), generator("plain"))
        optimizer = torch.optim.SGD(network.parameters(), lr=self.config.lr)
        order = generator("order")
        base = TensorDataset(self.images, self.labels)
        examples = base if self.config.augment == "none" else Augmented(base, self.config.augment, True, order)
        loader = DataLoader(examples, self.config.batch, shuffle=True, generator=order)

        def weights() -> torch.Tensor:
            return torch.cat([p.detach().flatten() for p in network.parameters()]).cpu()

        snapshots = [weights()]
        for _ in range(self.config.epochs):
            for images, labels in loader:
                loss = F.cross_entropy(network(images.to(self.device)), labels.to(self.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            snapshots.append(weights())
        return snapshots

    def row(self, name: str, mine: float, plain: float, ratio: float) -> tuple[str, float, float, str, float]:
        return f"{name}: {self.config.epochs} passes of an expert", mine * 1000, plain * 1000, "ms", ratio


@pytest.mark.parametrize(
    ("name", "shape", "epochs", "least", "faster"),
    [
        ("digits", DIGITS, 2, 60, 1.15),
        ("28x28, width 128", WIDE_28, 1, 25, 0.99),  # nearly all is convolution, which is the same: never slower,
        ("32x32, width 128", WIDE_32, 1, 25, 0.99),  # to the hundredth in which medians of so many turns differ
    ],
)
def test_seconds_per_expert(benchmark, table, name, shape, epochs, least, faster):
    place = Place(shape, epochs)
    mine, plain, ratio = compare(benchmark, place.ours, place.plain, least)
    table.append(place.row(name, mine, plain, ratio))
    assert ratio * faster <= 1


def test_a_compiled_expert_at_the_fields_width(benchmark, table):
    eager, compiled = Place(WIDE_28, epochs=1), Place(WIDE_28, epochs=1)
    compiled.network.compile(dynamic=False)
    mine, other, ratio = compare(benchmark, compiled.ours, eager.ours, 15)
    table.append(("28x28, width 128: an expert, compiled / eager", mine * 1000, other * 1000, "ms", ratio))
    assert ratio <= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.benchmark(timer=time.perf_counter, warmup=False)
def test_seconds_per_expert_on_a_gpu(benchmark, table):
    """As many at once as the stage would take, at the published batch of 256; the same work for each network."""
    place = Place((*WIDE_32[:3], 10_000, 256, DSA), epochs=2, device="cuda")

    def seconds(size: int) -> float:
        place.ours(size)
        began = time.perf_counter()
        place.ours(size)  # its snapshots lie on the CPU, so nothing is still being computed
        return time.perf_counter() - began

    size = fastest(seconds, 16)
    mine, plain, ratio = compare(benchmark, lambda: place.ours(size), place.plain, 5, time.perf_counter)
    table.append(place.row(f"GPU, 32x32, width 128, {size} at once", mine / size, plain, ratio / size))
    assert 5 * ratio / size <= 1
