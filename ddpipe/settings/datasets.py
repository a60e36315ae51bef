"""Datasets and how their images are prepared: `datasets:` and `own:` of params.yaml."""

from typing import Any, ClassVar, Literal

from pydantic import model_validator

from ddpipe.settings.base import Settings, needed
from ddpipe.settings.bounds import Few, Grey, Positive, Share, Spread, Switch

HANDWRITTEN = ("digits", "mnist", "svhn")  # sources of digits, where a mirrored image is another class
OWN_KEYS = {
    "test_fraction": ("folder", "npz"),
    "grey": ("folder", "npz"),
}
CHANNELS = {"digits": 1, "mnist": 1, "fashionmnist": 1}  # of published sources; all others have 3


class Whitening(Settings):
    """Regularised ZCA. {} is MTT's (kornia's) convention; any other is stated whole."""

    regularisation: Positive = 0.1
    relative: Switch = False  # True: times the mean eigenvalue (kernel methods); False: added as it is
    centred: Switch = True  # subtract the per-feature mean of the training images
    ddof: Literal[0, 1] = 1  # the covariance divides by n - ddof

    def stated(self) -> dict[str, str]:
        return needed(*type(self).model_fields) if self.model_fields_set else {}


class Dataset(Settings):
    """One prepared form of one dataset (`datasets:` of params.yaml; output data/prepared/<key>)."""

    aside = Settings.aside | {"path"}
    table: ClassVar[str] = "datasets"
    stage: ClassVar[str] = "prepare"  # that DVC prepares it with

    source: Literal[
        "digits", "mnist", "fashionmnist", "svhn", "cifar10", "cifar100", "tinyimagenet", "imagenet64", "folder", "npz"
    ]
    path: str | None = None  # folder and npz: where the images lie; relative paths start at the repository
    classes: tuple[str, ...] | None = None  # only these, labelled in this order; left out: all
    standardise: Literal["given", "biased", "unbiased", "none"] = "biased"  # given: mean and std below
    mean: tuple[Grey, ...] | None = None
    std: tuple[Spread, ...] | None = None
    per_image: Switch = False  # subtract each image's own mean, divide by its L2 norm (KIP, RTP, RFAD on SVHN)
    whitening: Whitening | None = None
    # False: a mirrored image is another class; augmentations then never flip. Sources of digits: False unless stated
    flip: Switch = True
    # folder: resize once to this side; left out: all images must agree. Published sources: means of squares of pixels
    resolution: Few | None = None
    grey: Switch = False  # folder and JPEG containers: read as one channel
    test_fraction: Share | None = None  # folder, npz without a test part: a stated split

    @model_validator(mode="before")
    @classmethod
    def never_flips_digits(cls, given: Any) -> Any:
        return {"flip": False} | given if isinstance(given, dict) and given.get("source") in HANDWRITTEN else given

    def stated(self) -> dict[str, str]:
        asked = {}
        if self.source in ("folder", "npz"):
            asked["flip"] = (
                "say whether a mirrored image belongs to the same class: true, or false where it is another one, as "
                "with the letters b and d"
            )
        if self.standardise == "none" and not self.per_image:
            asked["whitening"] = (
                "say how pixels are preprocessed, as standardise is none: whitening: {}, or null for not"
            )
        if self.per_image or "whitening" in self.model_fields_set:
            asked["standardise"] = "say what comes before: none as in MTT's code and for per_image, biased or unbiased"
        return asked

    @model_validator(mode="after")
    def consistent(self) -> "Dataset":
        if {self.mean is not None, self.std is not None} != {self.standardise == "given"}:
            raise ValueError("mean and std must be set exactly when standardise is 'given'")
        if (self.source in ("folder", "npz")) != (self.path is not None):
            raise ValueError("path must be set for source folder and npz, and for no other")
        for key, sources in OWN_KEYS.items():
            if getattr(self, key) and self.source not in sources:
                raise ValueError(f"{key} is for source {' and '.join(sources)} only; leave it out")
        if self.resolution and self.source == "npz":
            raise ValueError("resolution is not for source npz: save images of this side, or leave it out")
        channels = {len(self.mean or ()), len(self.std or ())}
        if self.mean is not None and (len(channels) > 1 or 0 in channels):
            raise ValueError("mean and std must have one number a channel each")
        if self.mean is not None and self.path is None and channels != {CHANNELS.get(self.source, 3)}:
            raise ValueError(f"mean and std must have one number a channel: {CHANNELS.get(self.source, 3)}")
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError("classes must be at least two, and different from each other")
        return self


class Own(Dataset):
    """Images of the user's own (`own:` of params.yaml): a table by itself, for DVC looks at what lies at `path`."""

    table: ClassVar[str] = "own"
    stage: ClassVar[str] = "own"

    source: Literal["folder", "npz"]
