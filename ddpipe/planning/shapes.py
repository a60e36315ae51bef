"""How many images of what shape a dataset has: as prepared, or as published while it is not."""

from dataclasses import replace
from pathlib import Path

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.pipeline import descriptions
from ddpipe.settings import Dataset
from ddpipe.settings.shapes import Data, Shape

PUBLISHED = {  # source -> its size, before `classes:` of params.yaml
    "digits": Data(Shape(1, 8, 10), 1297, 500),
    "mnist": Data(Shape(1, 28, 10), 60_000, 10_000),
    "fashionmnist": Data(Shape(1, 28, 10), 60_000, 10_000),
    "svhn": Data(Shape(3, 32, 10), 73_257, 26_032),
    "cifar10": Data(Shape(3, 32, 10), 50_000, 10_000),
    "cifar100": Data(Shape(3, 32, 100), 50_000, 10_000),
    "tinyimagenet": Data(Shape(3, 64, 200), 100_000, 10_000),
    "imagenet64": Data(Shape(3, 64, 1000), 1_281_167, 50_000),
}


def data_of(config: Config, name: str) -> Data | None:
    """The size of the prepared dataset `name`; None for images of the user's own that are not prepared yet, nor seen.

    Raises:
        UserError: when params.yaml knows no such dataset, or data.json is damaged.
    """
    if name not in config.params.datasets:
        raise UserError(f"datasets.{name}: a row uses it, but params.yaml has no such entry; run `ddpipe check`")
    settings = config.params.datasets[name]
    path = config.root / "data" / "prepared" / name / "data.json"
    if path.exists():
        found: Data | None = described(path)
    elif name in config.seen:
        return config.seen[name].data
    else:
        found = published(settings)
    return replace(found, whitened=settings.whitening is not None) if found else None


def published(settings: Dataset) -> Data | None:
    """The size of what everybody has, with the entry's classes and resolution; None of images of one's own."""
    if settings.source not in PUBLISHED:
        return None
    found = PUBLISHED[settings.source]
    if settings.classes is not None:
        share = len(settings.classes) / found.shape.classes
        shape = replace(found.shape, classes=len(settings.classes))
        found = Data(shape, round(found.train * share), round(found.test * share))
    if settings.resolution is not None:
        found = replace(found, shape=replace(found.shape, resolution=settings.resolution))
    return found


def described(path: Path) -> Data:
    """What the data.json of a prepared dataset says."""
    about = descriptions.read(path, descriptions.Prepared)
    channels, resolution, _ = about.shape
    return Data(Shape(channels, resolution, len(about.classes)), about.images.train, about.images.test)
