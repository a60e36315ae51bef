"""What the check of a card runs: small compositions, experts and evaluations, and published cells in full size."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from ddpipe import networks, settings
from ddpipe.config import Config
from ddpipe.datasets.prepared import Prepared, prepare
from ddpipe.datasets.preprocessing import Preprocessing
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.evaluation import Examination, TrainingSet
from ddpipe.experts.buffer import Buffer
from ddpipe.experts.training import Cohort, real_batches
from ddpipe.randomness import Streams, generator
from ddpipe.synthetic import Batch
from tests.contexts import context
from tests.contracts import compositions as small

NARROW = settings.ConvNet(kind="convnet", depth=2, width=16)
TRAINING = {"lr": 0.03, "batch": 64, "augment": small.STRATEGY, "momentum": 0.9, "weight_decay": 5e-4}
EXPERTS: dict[str, dict[str, Any]] = {
    "plain": {"augment": "none"},
    "augmented": {},
    "flat": {"flat": {"rho": 0.05, "alpha": 0.5}},
    "bfloat16": {"precision": "bfloat16"},
    "tf32": {"precision": "tf32"},
    "mixed": {"cutmix": 0.5},
}
BATCH = NARROW.model_copy(update={"norm": "batch"})
EVALUATIONS: dict[str, tuple[settings.Network, dict[str, Any]]] = {
    "plain": (NARROW, {}),
    "batch norm": (BATCH, {}),
    "bfloat16": (NARROW, {"precision": "bfloat16"}),
    "mixed": (NARROW, {"cutmix": 0.5}),
    "older augmentation": (NARROW, {"augment": "older:crop_scale_rotate", "epochs": 5}),
}
METHODS = ("dm", "dc", "dsa", "mtt", "tesla")
ADVANCE = 10**6  # iterations, so that none is the last


def compositions() -> Iterator[tuple[str, Callable[[torch.device], Distillation]]]:
    """One of each objective with each of its students, and of each set, by name."""
    chosen = [(objective, pool, "pixels-real", "none") for objective, pool in small.SOME]
    chosen += [("distribution", "fresh", *beside) for beside in small.SETS[1:]]
    for objective, pool, start, regulariser in dict.fromkeys(chosen):
        cell = small.of(objective, pool, small.STRATEGY, start, regulariser)

        def on(where: torch.device, cell: settings.Distillation = cell) -> Distillation:
            with tempfile.TemporaryDirectory() as place:
                network = networks.build(small.ARCHITECTURE, 2, small.SIDE, len(small.SIZES))
                small.written(Path(place), network, small.EXPERTS, small.SNAPSHOTS)
                # snapshots are mapped: kept in memory before the folder goes
                small.BUFFERS["small"], small.BUFFERS["device"] = Buffer(Path(place)), Buffer(Path(place), where)
                return small.run_of(cell, device=where)

        yield "-".join(part for part in (objective, pool, start, regulariser) if part != "none"), on


def cohort(data: Prepared, where: torch.device, size: int, numbers: dict[str, Any], network: Any = NARROW) -> Cohort:
    chosen = {"data": "none", "network": "none", "networks": size, "epochs": 50} | TRAINING | numbers
    real = Resident(data.train_images, data.train_labels, data.preprocessing, where)
    built = networks.build(network, data.channels, data.resolution, len(data.classes), where)
    return Cohort(
        settings.Experts.model_validate(chosen),
        built,
        real_batches(real, len(data.classes)),
        len(real.labels),
        data.flip,
        [Streams("check", number) for number in range(size)],
    )


def shrunk(path: Path, device: str) -> None:
    """params.yaml of a project in which two methods take seconds on digits."""
    yaml = YAML(pure=True)
    params = yaml.load(Path("params.yaml"))
    params["run"] |= {"device": device, "checkpoint_every": 5, "checkpoint_seconds": 0.0}
    params["experts"]["digits-trajectories"] |= {"networks": 2}
    for method in ("mtt",):
        params["methods"][method] = {"sets": 1, "iterations": 60}
    for protocol in params["protocols"].values():
        protocol["networks"] = min(protocol["networks"], 2)
        protocol |= {"epochs": 10} if "epochs" in protocol else {}
    yaml.dump(params, path)


class World:
    """Data and settings of the published cells.

    Args:
        place: for prepared data.
        mnist: the folder of MNIST's files; None: invented images.
        tiny: few images and narrow networks.
    """

    def __init__(self, project: Config, place: Path, mnist: Path | None, tiny: bool):
        self.project, self.tiny, self.width = project, tiny, 4 if tiny else 128
        prepare("digits", project.params.datasets["digits"], place / "raw", place / "digits")
        self.digits = Prepared.load(place / "digits")
        self.large = invented(1, 28, 600 if tiny else 60_000)
        if mnist is not None:
            prepare("mnist", project.params.datasets["mnist"], mnist, place / "mnist")
            self.large = Prepared.load(place / "mnist")
        self.coloured = invented(3, 32, 600 if tiny else 50_000)
        wide = {"kind": "convnet", "depth": 3, "width": self.width}
        self.network: settings.Network = TypeAdapter(settings.Network).validate_python(wide)

    def examination(
        self, data: Prepared, where: torch.device, network: settings.Network, **numbers: Any
    ) -> Examination:
        protocol = settings.Trained.model_validate({"epochs": 40, "networks": 20} | TRAINING | numbers)
        test = Resident(data.test_images, data.test_labels, data.preprocessing, where)
        return Examination(network, protocol, test, len(data.classes), data.flip)

    def accuracies(self, network: settings.Network, numbers: dict, where: torch.device, size: int) -> list[float]:
        """Of five networks on ten images a class, `size` at once."""
        few = {"epochs": 4} if self.tiny else {}
        examination = self.examination(self.digits, where, network, **(few | numbers))
        streams, data = [Streams("check", number) for number in range(5)], chosen(self.digits, where, 10)
        groups = [streams[first : first + size] for first in range(0, 5, size)]
        return [value for group in groups for value in examination.accuracies(data, group)]

    def published(self, where: torch.device) -> Iterator[tuple[str, Callable[[], Callable[[], None]]]]:
        """Iterations of published cells; trajectories follow a random walk in place of experts."""
        for dataset, data in (("mnist", self.large), ("cifar10", self.coloured)):
            for ipc in (1,) if self.tiny else (1, 10, 50):
                for method in METHODS:
                    cell = f"{method}-{dataset}-{ipc}"
                    if cell in self.project.rows:
                        yield cell, lambda cell=cell, data=data, ipc=ipc: self.composed(cell, data, ipc, where).advance

    def composed(self, cell: str, data: Prepared, ipc: int, where: torch.device) -> Distillation:
        found = self.project.resolved(cell)
        assert isinstance(found, settings.Distillation)
        few = {"real_batch": 8} if self.tiny else {}
        found = found.model_copy(update={"iterations": ADVANCE} | few)
        real = Resident(data.train_images, data.train_labels, data.preprocessing, where)
        network = networks.build(self.network, data.channels, data.resolution, len(data.classes), where)
        with tempfile.TemporaryDirectory() as place:
            buffer = None
            if found.epochs:
                small.written(Path(place), network, 1, found.epochs + 1)
                buffer = Buffer(Path(place), where)
            streams = Streams(0, cell, 0)
            given = context(real, ipc, network, streams, data.flip, found.real_batch, buffer, self.network)
            return compose(found, given)

    def wide_cohort(self, where: torch.device, size: int, precision: str) -> tuple[Cohort, int]:
        """Networks on their way, and the steps of a pass."""
        steps, batch = (2, 8) if self.tiny else (10, 256)
        few = invented(1, 28, steps * batch)
        return cohort(few, where, size, {"batch": batch, "precision": precision}, self.network), steps

    def wide_evaluation(self, where: torch.device, ipc: int, size: int) -> tuple[Callable[[], object], int]:
        """Networks trained and tested on 1,000 images, and the passes of each."""
        passes = 3 if self.tiny else 30
        data = chosen(self.large, where, ipc)
        examination = self.examination(invented(1, 28, 600), where, self.network, epochs=passes, lr=1e-4, batch=256)
        streams = [Streams("check", number) for number in range(size)]
        return lambda: examination.accuracies(data, streams), passes


def chosen(data: Prepared, where: torch.device, ipc: int) -> TrainingSet:
    """The first images of each class."""
    real = Resident(data.train_images, data.train_labels, data.preprocessing, where)
    rows = torch.cat([rows[:ipc] for rows in real.class_index])
    images = real.batch(rows)
    targets = F.one_hot(real.labels[rows.to(where)], len(data.classes)).float()
    return TrainingSet(lambda index: Batch(images[index], targets[index]), len(images))


def invented(channels: int, side: int, n: int, classes: int = 10) -> Prepared:
    """Noise of the size of a dataset."""
    images = torch.randint(0, 256, (n, channels, side, side), dtype=torch.uint8, generator=generator("invented"))
    labels = torch.arange(n) % classes
    scaling = Preprocessing(torch.full((channels, 1, 1), 1 / 64), torch.full((channels, 1, 1), -2.0))
    names = tuple(map(str, range(classes)))
    return Prepared("invented", images, labels, images[:1000], labels[:1000], names, scaling, True, {}, "")
