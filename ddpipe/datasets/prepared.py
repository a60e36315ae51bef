"""The prepared form of a dataset: what the prepare stage writes and every later stage reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddpipe.config import Config
from ddpipe.datasets import preprocessing
from ddpipe.datasets.preprocessing import (
    Images,
    Preprocessing,
    centred,
    fit,
    pieces,
    shapes,
    standardisation,
    tensors_digest,
)
from ddpipe.datasets.readers import READERS
from ddpipe.datasets.source import Part, Source, check, shrunk, subset
from ddpipe.datasets.storage import TensorFile
from ddpipe.errors import UserError
from ddpipe.files import artifacts, layout
from ddpipe.memory import oversized_whitening
from ddpipe.pipeline import descriptions
from ddpipe.progress import Progress
from ddpipe.settings import Dataset
from ddpipe.settings.reading import did_you_mean

IMAGES = {
    "train_images": "uint8 N c h h",
    "train_labels": "int64 N",
    "test_images": "uint8 M c h h",
    "test_labels": "int64 M",
}
FITTED = "preprocessing."
LAYOUT = IMAGES | {FITTED + name: wanted for name, wanted in preprocessing.LAYOUT.items()}  # of data.safetensors


@dataclass(frozen=True)
class Prepared:
    """uint8 images (N, C, H, W) and int64 labels (N,) of both parts, and the preprocessing fitted to the training part.

    The images are mapped from the file: only what is looked at takes memory.
    flip: a mirrored image belongs to the same class. source: where the images come from and how they were split.
    checksum: SHA-256 over images, labels and fitted preprocessing.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    flip: bool
    source: dict[str, Any]
    checksum: str

    @property
    def channels(self) -> int:
        return self.train_images.shape[1]

    @property
    def resolution(self) -> int:
        """Side of the square images, in pixels."""
        return self.train_images.shape[2]

    @classmethod
    def load(cls, folder: Path) -> "Prepared":
        """Read what `prepare` wrote; UserError when a file is missing or differs from what was written.

        The images are gone through once, for the checksum, and stay in the file.
        """
        about, path = descriptions.read(folder / "data.json", descriptions.Prepared), folder / "data.safetensors"
        tensors, _ = artifacts.read_tensors(path)
        try:
            fitted = _check(about, tensors)
        except ValueError as error:
            raise UserError(f"{path} does not fit data.json beside it: {error}; {artifacts.mend(path)}") from error
        return cls(
            name=about.name,
            **{name: tensors[name] for name in IMAGES},
            classes=about.classes,
            preprocessing=fitted,
            flip=about.flip,
            source=about.source,
            checksum=about.checksum,
        )

    @classmethod
    def of(cls, project: Config, name: str) -> "Prepared":
        """`load` the entry `name` of params.yaml, as it is now: UserError when other data lie under its name."""
        folder, entries = project.root / "data" / "prepared" / name, project.params.datasets
        if name not in entries:
            raise UserError(f"datasets.{name}: no such entry in params.yaml{did_you_mean(name, list(entries))}")
        about = descriptions.read(folder / "data.json", descriptions.Prepared)
        if about.name != name or not about.made_with(entries[name]):
            raise UserError(
                f"{folder} was prepared with other settings than {entries[name].table}.{name} of params.yaml has now; "
                f"run `dvc repro {entries[name].stage}@{name}`"
            )
        return cls.load(folder)


def _check(about: descriptions.Prepared, tensors: dict[str, Tensor]) -> Preprocessing:
    """The fitted preprocessing; ValueError, in words, unless the tensors are what `about` says."""
    channels, side, _ = about.shape
    sizes = {"N": about.images.train, "M": about.images.test, "c": channels, "h": side, "F": channels * side * side}
    layout.check(tensors, LAYOUT, **sizes)
    if tensors_digest(tensors) != about.checksum:
        raise ValueError("its checksum is another one")
    for part in ("train_labels", "test_labels"):
        if int(tensors[part].min()) < 0 or int(tensors[part].max()) >= len(about.classes):
            raise ValueError(f"{part} go beyond the {len(about.classes)} classes")
    if len(tensors["train_labels"].unique()) < len(about.classes):
        raise ValueError("a class has no training images")
    fitted = {name.removeprefix(FITTED): tensor for name, tensor in tensors.items() if name not in IMAGES}
    return Preprocessing.from_parts(about.preprocessing.model_dump(mode="json"), fitted)


def prepare(name: str, settings: Dataset, raw: Path, folder: Path) -> dict[str, Any]:
    """Read the dataset `name`, check it, fit its preprocessing and write data.safetensors and data.json to `folder`.

    Images go straight from the reader to the file, some at a time, and are read back from there for the fit and the
    checksum: sets larger than memory are fine. Equal contents give equal bytes.

    Args:
        raw: folder of its downloaded files.

    Returns:
        What data.json says.

    Raises:
        UserError: when the images are missing or unusable, or the folder cannot be written; it is left as it was.
    """
    source, where = READERS[settings.source](name, settings, raw), f"{settings.table}.{name}"
    if settings.classes is not None:
        source = subset(where, source, settings.classes)
    check(where, source)
    if settings.resolution is not None:
        source = shrunk(where, source, settings.resolution)
    channels = source.train.shape[0]
    for key, values in (("mean", settings.mean), ("std", settings.std)):
        if values is not None and len(values) != channels:
            raise UserError(
                f"{where}.{key} has {len(values)} numbers but the images have {channels} channels; "
                "give one number a channel"
            )
    if settings.whitening is not None and (why := oversized_whitening(source.train.shape)):
        raise UserError(f"{where}.{why}")
    with artifacts.new_folder(folder) as new:
        fitted, checksum = write(name, settings, source, new / "data.safetensors")
        about = {
            "name": name,
            "classes": list(source.classes),
            "settings": settings.model_dump(mode="json", exclude=descriptions.PLACES),
            "flip": settings.flip,
            "source": source.provenance,
            "preprocessing": fitted.to_json(),
            "checksum": checksum,
            "shape": list(source.train.shape),
            "images": {"train": len(source.train.labels), "test": len(source.test.labels)},
        }
        artifacts.write_sealed(new / "data.json", about)
    return about


def write(name: str, settings: Dataset, source: Source, path: Path) -> tuple[Preprocessing, str]:
    """Write all tensors to the new file `path`; the fitted preprocessing and the checksum of everything."""
    where = f"{settings.table}.{name}"
    kept = {FITTED + key: (torch.float32, s) for key, s in shapes(source.train.shape, settings).items()}
    for part, data in (("train", source.train), ("test", source.test)):
        kept[f"{part}_images"] = torch.uint8, (len(data.labels), *data.shape)
        kept[f"{part}_labels"] = torch.int64, (len(data.labels),)
    with TensorFile(path, kept) as file:
        for part, title, data in (("train", "training", source.train), ("test", "test", source.test)):
            file.write(f"{part}_labels", data.labels)
            low, high = write_images(file, f"{part}_images", f"{name}: {title} images", data)
            if part == "train":
                refuse_constant_channel(where, low, high)
        train, test = file.stored("train_images"), file.stored("test_images")
        if settings.per_image:
            standardised = standardisation(train, settings)
            refuse_constant_image(where, "training", train, standardised)
            refuse_constant_image(where, "test", test, standardised)
        fitted = fit(train, settings)
        tensors = {FITTED + key: tensor for key, tensor in fitted.tensors().items()}
        for key, tensor in tensors.items():
            file.write(key, tensor)
        labels = {"train_labels": source.train.labels, "test_labels": source.test.labels}
        return fitted, tensors_digest(tensors | labels | {"train_images": train, "test_images": test})


def write_images(file: TensorFile, key: str, title: str, part: Part) -> tuple[Tensor, Tensor]:
    """Append all images to the tensor `key`; the smallest and the largest value of every channel, (c,) each."""
    low, high = torch.full((part.shape[0],), 255), torch.zeros(part.shape[0], dtype=torch.long)
    with Progress(title, len(part.labels)) as progress:
        for images in part.images():
            file.write(key, images)
            if len(images):
                low, high = low.minimum(images.amin((0, 2, 3))), high.maximum(images.amax((0, 2, 3)))
            for _ in range(len(images)):
                progress.advance()
    return low, high


def refuse_constant_channel(where: str, low: Tensor, high: Tensor) -> None:
    """UserError for a channel without any contrast: it has no standard deviation to be divided by."""
    for channel in (low == high).nonzero().flatten().tolist():
        raise UserError(
            f"{where}: every pixel of channel {channel} of the training images has the value "
            f"{int(low[channel])}, so there is nothing to learn from it; check how the images were saved"
        )


def refuse_constant_image(where: str, part: str, images: Images, standardised: Preprocessing) -> None:
    """UserError for the first image of one single value: it has no norm to be divided by."""
    first = 0
    for chunk in pieces(images):
        norms = centred(standardised.transform(chunk))[1].flatten()
        for row in (norms < 1e-6).nonzero().flatten().tolist():  # one grey level in one pixel already gives 1e-3
            raise UserError(
                f"{where}.per_image: {part} image number {first + row} (counting from 0) is constant, "
                "so it has no norm to be divided by; remove the image or set per_image: false"
            )
        first += len(chunk)
