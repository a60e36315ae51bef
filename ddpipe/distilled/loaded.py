"""`ddpipe.load`: a distilled set with all that its accuracy takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from ddpipe import augmentation, networks, settings
from ddpipe.datasets.preprocessing import Preprocessing
from ddpipe.distilled.home import Home
from ddpipe.distilled.sets import ABOUT, Distilled
from ddpipe.errors import UserError
from ddpipe.evaluation.trained import at
from ddpipe.files import hints
from ddpipe.settings import Scale
from ddpipe.training.loop import rate


@dataclass(frozen=True)
class DistilledSet(Dataset):
    """V examples in the pixel space they were learned in; test images must go through `preprocessing` too.

    `set[i]` is (image (c, h, w), target (K,)). `hints` are what a method wants its users to know (nothing for images
    with fixed labels); `info` is distilled.json. Examples of a factorised set are decoded already, each base in each of
    its styles; published accuracies train on one random style of each base a pass.

    How its accuracy is measured: `protocol`, `rates`, `augment`, `network` and `test`, of its row in the project that
    the folder lies in; each raises UserError where what it needs is not there. `ddpipe.evaluate` goes by them.
    """

    images: Tensor  # (V, c, h, w) float32
    targets: Tensor  # (V, K) distribution, one-hot for hard labels; scores where `scale` is "centred"
    loss: Tensor  # (iterations,) loss history; empty for chosen images
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    hints: dict[str, Tensor]
    info: dict[str, Any]
    home: Home = field(repr=False)
    contents: Tensor | None = None  # (V,) the base behind each example, where examples share one (styles.py)
    codes: dict[str, Tensor] = field(default_factory=dict)  # what the examples were made of
    scale: Scale = "one-hot"  # of the targets; "centred": less 1 / K, for squared errors

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.targets[index]

    def __repr__(self) -> str:
        cell, shape = self.info["cell"], "x".join(map(str, self.images.shape[1:]))
        return f"<set {self.home.number} of {cell}: {len(self)} examples of {shape}, {len(self.classes)} classes>"

    def by_class(self) -> dict[str, Tensor]:
        """Class -> numbers of its examples; classes that have none are left out.

        The largest number of a learned target need not be its image's class. But such sets lie class by class, and
        where their targets do not tell as many images of each, they are taken as they lie.
        """
        labels = self.targets.argmax(1)
        rows = {name: (labels == label).nonzero().flatten() for label, name in enumerate(self.classes)}
        if len(set(map(len, rows.values()))) > 1 and not len(labels) % len(rows):
            rows = dict(zip(rows, torch.arange(len(labels)).view(len(rows), -1), strict=True))
        return {name: found for name, found in rows.items() if len(found)}

    def pixels(self) -> Tensor:
        """(V, c, h, w) in [0, 1]: the images as they look, preprocessing undone and clamped."""
        return self.preprocessing.invert(self.images).clamp(0, 1)

    @cached_property
    def protocol(self) -> settings.Protocol:
        """The numbers of the row's protocol; where it asks for what was learned, that is `lr`, `steps`."""
        rules = self.home.protocol()[1]
        if why := rules.refusal("the set", hints.shapes(self.hints), self.scale):
            raise UserError(f"grid.{self.info['cell']}.protocol: it {why}; name another protocol")
        return at(rules, self.hints) if isinstance(rules, settings.Trained) else rules

    def rates(self) -> list[float]:
        """The learning rate of each pass (with `steps`, of each step) of the protocol."""
        if not isinstance(self.protocol, settings.Trained):
            raise UserError(
                f"grid.{self.info['cell']}.protocol: kind {self.protocol.kind} trains in no passes with rates; "
                "`ddpipe.evaluate` measures by it"
            )
        paced = self.protocol.paced()
        return [rate(paced, number) for number in range(paced.passes)]

    def augment(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """A batch (n, c, h, w) in the pixel space of the set as a network sees it in training, by the protocol.

        CutMix, where the protocol has it, mixes targets too and is not in it.
        """
        return self._policy(images, self._policy.draw(drawn(rng), len(images), *images.shape[-2:]))

    @cached_property
    def _policy(self) -> augmentation.Policy:
        data = self.home.project.params.datasets
        name = self.info["data"]
        if name not in data:
            raise UserError(
                f"datasets.{name}: no such entry in params.yaml, so nothing tells whether it may be flipped"
            )
        return augmentation.make(getattr(self.protocol, "augment", "none"), data[name].flip)

    def network(self, rng: torch.Generator) -> networks.Classifier:
        """A fresh network, as the row has it, in training mode, its weights drawn from `rng` (`ddpipe.generator`)."""
        channels, resolution = self.images.shape[1:3]
        return networks.create(self.home.network()[1], channels, resolution, len(self.classes), drawn(rng)).train()

    def test(self) -> tuple[Tensor, Tensor]:
        """Images (M, c, h, w), preprocessed, and labels (M,) of the test part of the prepared data."""
        part = self.home.test()
        return part.batch(torch.arange(len(part.labels))), part.labels


def load(
    path: str | Path,
    number: int = 0,
    prepared: str | Path | None = None,
    project: str | Path | None = None,
    at: int | None = None,
) -> DistilledSet:
    """Load set `number` of a distilled folder, e.g. `ddpipe.load("data/distilled/dm-digits-10")`.

    Args:
        path: the folder of a cell.
        number: which of its sets.
        prepared: the prepared data, needed for sets of chosen real images, which are numbers of rows there, and for
            the test part; left out: data/prepared/<data> of the project.
        project: the folder with params.yaml; left out: the one that the set lies in.
        at: the iteration after which a snapshot was kept (`snapshots:` of the cell); left out: the finished set.

    Raises:
        UserError: when a file is missing or damaged, or the prepared data is not what the set was chosen from.
    """
    if not isinstance(path, str | Path) or type(number) is not int:
        raise UserError(f"load({path!r}, {number!r}): takes the folder of a cell and the number of a set")
    folder = Path(path)
    if folder.exists() and not (folder / ABOUT).exists() and not folder.name.startswith("."):
        raise UserError(f"{folder} is no distilled set: name the folder of a cell, such as data/distilled/dm-digits-10")
    found = Distilled.open(folder)
    root = Path(project) if project else folder.resolve().parent.parent.parent
    home = Home(found, number, root, Path(prepared) if prepared else root / "data" / "prepared" / found.about.data)
    tensors = found.tensors(number, at=at)
    if "rows" in tensors:
        data = home.prepared
        rows = found.tensors(number, data)["rows"]
        tensors = {
            "images": found.preprocessing.transform(data.train_images[rows]),
            "targets": F.one_hot(data.train_labels[rows], len(data.classes)).float(),
        }
    return DistilledSet(
        tensors["images"],
        tensors["targets"],
        tensors.get("loss", torch.zeros(0)),
        found.about.classes,
        found.preprocessing,
        hints.of(tensors),
        found.about.model_dump(mode="json", exclude_unset=True),
        home,
        tensors.get("contents"),
        codes(tensors),
        found.about.targets,
    )


def drawn(rng: torch.Generator) -> torch.Generator:
    """`rng`, if it is a generator: a seed, or None, would not say which random numbers these are."""
    if not isinstance(rng, torch.Generator):
        raise UserError(f'random numbers: {rng!r} is no torch.Generator; ddpipe.generator("any name") makes one')
    return rng


def codes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the examples of a set were made of."""
    return {name.removeprefix("code."): value for name, value in tensors.items() if name.startswith("code.")}
