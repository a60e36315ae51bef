"""The prepared form of a dataset: what the prepare stage writes and every later stage reads."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ddpipe import artifacts
from ddpipe.datasets.preprocessing import CHUNK, Preprocessing, centred, fit, standardisation, tensors_digest
from ddpipe.datasets.readers import READERS
from ddpipe.datasets.source import check
from ddpipe.errors import UserError
from ddpipe.settings import Dataset

IMAGES = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Prepared:
    """uint8 images (N, C, H, W) and int64 labels (N,) of both parts, and the preprocessing fitted to the training part.

    flip: a mirrored image belongs to the same class. source: where the images come from and how they were split.
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

    @property
    def channels(self) -> int:
        return self.train_images.shape[1]

    @property
    def resolution(self) -> int:
        """Side of the square images, in pixels."""
        return self.train_images.shape[2]

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over images, labels and fitted preprocessing."""
        return tensors_digest(self.tensors())

    def tensors(self) -> dict[str, Tensor]:
        fitted = {f"preprocessing.{name}": tensor for name, tensor in self.preprocessing.tensors().items()}
        return {name: getattr(self, name) for name in IMAGES} | fitted

    def save(self, folder: Path) -> None:
        """Write data.safetensors and data.json in one step; equal contents give equal bytes."""
        about = {
            "name": self.name,
            "classes": list(self.classes),
            "flip": self.flip,
            "source": self.source,
            "preprocessing": self.preprocessing.to_json(),
            "checksum": self.checksum,
            "shape": list(self.train_images.shape[1:]),
            "images": {"train": len(self.train_labels), "test": len(self.test_labels)},
        }
        with artifacts.new_folder(folder) as new:
            artifacts.write_tensors(new / "data.safetensors", self.tensors())
            artifacts.write_json(new / "data.json", about)

    @classmethod
    def load(cls, folder: Path) -> "Prepared":
        """Read what `save` wrote; UserError when a file is missing or differs from what was written."""
        about = artifacts.read_json(folder / "data.json")
        path = folder / "data.safetensors"
        tensors, _ = artifacts.read_tensors(path)
        if not isinstance(about, dict) or about.get("checksum") != tensors_digest(tensors):
            raise UserError(f"{path} does not fit the checksum in data.json beside it; {artifacts.mend(path)}")
        fitted = {name.removeprefix("preprocessing."): tensor for name, tensor in tensors.items() if name not in IMAGES}
        return cls(
            name=about["name"],
            **{name: tensors[name] for name in IMAGES},
            classes=tuple(about["classes"]),
            preprocessing=Preprocessing.from_parts(about["preprocessing"], fitted),
            flip=about["flip"],
            source=about["source"],
        )


def prepare(name: str, settings: Dataset, raw: Path) -> Prepared:
    """Read the dataset `name`, check it and fit its preprocessing.

    raw: folder of its downloaded files, data/raw/<name>. UserError when the images are missing or unusable.
    """
    source = READERS[settings.source](name, settings, raw)
    check(name, source)
    channels = source.train_images.shape[1]
    for key, values in (("mean", settings.mean), ("std", settings.std)):
        if values is not None and len(values) != channels:
            raise UserError(
                f"datasets.{name}.{key} has {len(values)} numbers but the images have {channels} channels; "
                "give one number a channel"
            )
    if settings.per_image:
        standardised = standardisation(source.train_images, settings)
        refuse_constant(name, "training", source.train_images, standardised)
        refuse_constant(name, "test", source.test_images, standardised)
    return Prepared(
        name=name,
        train_images=source.train_images.contiguous(),
        train_labels=source.train_labels,
        test_images=source.test_images.contiguous(),
        test_labels=source.test_labels,
        classes=source.classes,
        preprocessing=fit(source.train_images, settings),
        flip=settings.flip,
        source=source.provenance,
    )


def refuse_constant(name: str, part: str, images: Tensor, standardised: Preprocessing) -> None:
    """UserError for the first image of one single value: it has no norm to be divided by."""
    for start, chunk in zip(range(0, len(images), CHUNK), images.split(CHUNK), strict=True):
        norms = centred(standardised.apply(chunk))[1].flatten()
        for row in (norms < 1e-6).nonzero().flatten().tolist():  # one grey level in one pixel already gives 1e-3
            raise UserError(
                f"datasets.{name}.per_image: {part} image number {start + row} (counting from 0) is constant, so it "
                "has no norm to be divided by; remove the image or set per_image: false"
            )
