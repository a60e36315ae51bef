"""From stored uint8 images to the pixel space of a run and back: the conventions of `settings.Dataset`, one pipeline.

    x / 255  ->  channel standardisation  ->  each image centred and of unit norm (per_image)  ->  regularised ZCA

Statistics come from the training images only. Images are flattened in (c, h, w) order. Papers that flatten as (h, w, c)
(KIP, FRePo, RTP) get the same images: their matrix is ours with rows and columns permuted. Papers that standardise raw
values 0..255 (KIP, RFAD) get the same images too, because standardisation cancels a common factor.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from ddpipe.datasets.accepted import unlike
from ddpipe.errors import UserError
from ddpipe.files import layout
from ddpipe.memory import images_at_once
from ddpipe.settings import Dataset

LAYOUT = {  # of the fitted numbers on disk
    "scale": "float32 c 1 1",
    "shift": "float32 c 1 1",
    "norm?": "float32",
    "centre?": "float32 F",
    "matrix?": "float32 F F",
}


class Images(Protocol):
    """uint8 images (n, c, h, w): a tensor, or a file that is read some images at a time."""

    @property
    def shape(self) -> Sequence[int]: ...

    def split(self, n: int, /) -> Iterable[Tensor]: ...


def pieces(images: Images) -> Iterable[Tensor]:
    """The images, as many at a time as are converted to floating point at once."""
    return images.split(images_at_once(math.prod(images.shape[1:])))


@dataclass(frozen=True)
class Preprocessing:
    """A fitted pipeline; it works in the dtype and on the device of its tensors (float32 on the CPU after `fit`).

    scale, shift: (c, 1, 1), with standardised = uint8 value * scale + shift.
    norm: mean L2 norm of the centred training images, set exactly when each image is divided by its own; ().
    centre, matrix: feature mean (F,) and symmetric ZCA matrix (F, F) of the whitening, if there is one.
    description: the choices behind the numbers, for people and for data.json.
    """

    scale: Tensor
    shift: Tensor
    norm: Tensor | None = None
    centre: Tensor | None = None
    matrix: Tensor | None = None
    description: dict[str, Any] = field(default_factory=dict)

    @property
    def pointwise(self) -> bool:
        """Each output value depends on one input value alone: cheap enough to be repeated for every batch."""
        return self.norm is None and self.matrix is None

    def apply(self, images: Tensor) -> Tensor:
        """Images in the pixel space of the run: what networks trained there have to be tested on.

        Args:
            images: uint8 (n, c, h, w), the values 0 to 255 of the files, channels in the order of the training images.

        Raises:
            UserError: they are not that. Whoever divides by 255 before, or has grey levels from 0 to 16, would get
                numbers of the right shape and accuracies of guessing.
        """
        if why := unlike(images, self):
            raise UserError(f"preprocessing.apply takes uint8 images (n, c, h, w) with the values 0 to 255: {why}")
        return self.transform(images)

    def transform(self, images: Tensor) -> Tensor:
        """`apply` of what is known to be images, on the scale 0 to 255 in any dtype."""
        x = (images.to(self.scale.dtype) * self.scale).add_(self.shift)
        if self.norm is not None:
            x, norms = centred(x)
            x = x / norms
        if self.matrix is not None and self.centre is not None:
            x = ((x.flatten(1) - self.centre) @ self.matrix).view_as(x)
        return x

    def invert(self, images: Tensor) -> Tensor:
        """Pixel-space images (n, c, h, w) as pictures in [0, 1], not clamped.

        What `per_image` removed is gone; every picture gets the mean brightness and contrast of the training images.
        """
        x = images.to(self.scale)
        if self.centre is not None:
            x = (x.flatten(1) @ self.unwhitening + self.centre).view_as(x)
        if self.norm is not None:
            x = x * self.norm
        return (x - self.shift) / self.scale / 255

    @cached_property
    def unwhitening(self) -> Tensor:
        """Inverse of the ZCA matrix, (F, F); computed on demand, because only pictures need it."""
        assert self.matrix is not None
        try:
            return torch.linalg.inv(self.matrix.double()).to(self.matrix.dtype)
        except torch.linalg.LinAlgError as error:
            raise UserError("the whitening matrix of these images has no inverse: prepare them again") from error

    def to(self, *args: Any, **kwargs: Any) -> "Preprocessing":
        """The same pipeline on another device or in another dtype; arguments as of `Tensor.to`."""
        moved = {name: tensor.to(*args, **kwargs) for name, tensor in self.tensors().items()}
        return Preprocessing(**moved, description=self.description)

    def to_json(self) -> dict[str, Any]:
        return self.description

    def tensors(self) -> dict[str, Tensor]:
        """The fitted numbers by name; with `to_json` all that `from_parts` needs."""
        parts = {name: getattr(self, name) for name in ("scale", "shift", "norm", "centre", "matrix")}
        return {name: tensor for name, tensor in parts.items() if tensor is not None}

    @classmethod
    def from_parts(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> "Preprocessing":
        """What `to_json` and `tensors` gave, read back; `description` has the keys of `descriptions.Fitted`.

        Raises:
            ValueError: when they are not what `fit` finds; in words.
        """
        sizes = layout.check(tensors, LAYOUT)
        fitted = cls(**tensors, description=description)
        stated = _standardised(*(torch.tensor(description[key], dtype=torch.float64) for key in ("mean", "std")))
        for name, known in stated.items():
            given = tensors[name].double()
            if known.shape != given.shape or not torch.allclose(known, given, rtol=1e-6, atol=1e-30):
                raise ValueError(f"{name} is not what mean and std give")
        if (fitted.norm is not None) != description["per_image"] or (fitted.norm is not None and fitted.norm <= 0):
            raise ValueError("norm must be there, and positive, exactly when per_image is")
        if not (fitted.matrix is not None) == (fitted.centre is not None) == bool(description["whitening"]):
            raise ValueError("centre and matrix must be there exactly when whitening is")
        if fitted.matrix is not None:
            largest = float(fitted.matrix.diagonal().amax())
            side = math.isqrt(sizes["F"] // sizes["c"])
            if sizes["c"] * side * side != sizes["F"] or not float(fitted.matrix.diagonal().amin()) > 0:
                raise ValueError("matrix is not that of a whitening")
            if float((fitted.matrix - fitted.matrix.T).abs_().amax()) > 1e-3 * largest:
                raise ValueError("matrix is not symmetric")
        return fitted

    def digest(self) -> str:
        """SHA-256 of the fitted numbers: equal exactly when two pipelines give the same images."""
        return tensors_digest(self.tensors())


def tensors_digest(tensors: Mapping[str, Tensor | Images]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        chunks = [tensor] if isinstance(tensor, Tensor) else pieces(tensor)
        for number, chunk in enumerate(chunks):
            array = chunk.detach().cpu().contiguous().numpy()
            if number == 0:
                digest.update(f"{name} {array.dtype.str} {tuple(tensor.shape)}".encode())
            digest.update(array.reshape(-1).view("uint8").data)
    return digest.hexdigest()


def fit(images: Images, settings: Dataset, dtype: torch.dtype = torch.float32) -> Preprocessing:
    """Fit to uint8 training images (n, c, h, w): computed in float64, stored in `dtype`.

    No channel may be constant and, for `per_image`, no image: `prepare` refuses them with a sentence.
    """
    fitted = standardisation(images, settings)
    if settings.per_image:
        norms = [centred(fitted.transform(chunk))[1].flatten() for chunk in pieces(images)]
        fitted = replace(fitted, norm=torch.cat(norms).mean())
    if settings.whitening:
        chunks = (fitted.transform(chunk).flatten(1) for chunk in pieces(images))
        centre, matrix = whitening(chunks, **settings.whitening.model_dump())
        fitted = replace(fitted, centre=centre, matrix=matrix)
    return fitted.to(dtype)


def shapes(image: tuple[int, int, int], settings: Dataset) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what `fit` finds for images of shape (c, h, w), without finding it."""
    features = torch.Size(image).numel()
    found: dict[str, tuple[int, ...]] = {"scale": (image[0], 1, 1), "shift": (image[0], 1, 1)}
    if settings.per_image:
        found["norm"] = ()
    if settings.whitening:
        found |= {"centre": (features,), "matrix": (features, features)}
    return found


def standardisation(images: Images, settings: Dataset) -> Preprocessing:
    """The first steps alone, x / 255 and channel standardisation, in float64."""
    mean, std = channel_statistics(images, settings)
    choices = settings.model_dump(include={"standardise", "per_image", "whitening"})
    return Preprocessing(
        **_standardised(mean, std), description={**choices, "mean": mean.tolist(), "std": std.tolist()}
    )


def _standardised(mean: Tensor, std: Tensor) -> dict[str, Tensor]:
    return {"scale": (1 / (255 * std)).view(-1, 1, 1), "shift": (-mean / std).view(-1, 1, 1)}


def channel_statistics(images: Images, settings: Dataset) -> tuple[Tensor, Tensor]:
    """Mean and std of each channel over all pixels of all images, on the scale 0..1; (c,) each, float64."""
    channels = images.shape[1]
    if settings.standardise == "none":
        return torch.zeros(channels, dtype=torch.float64), torch.ones(channels, dtype=torch.float64)
    if settings.mean is not None and settings.std is not None:
        return torch.tensor(settings.mean, dtype=torch.float64), torch.tensor(settings.std, dtype=torch.float64)
    # From histograms: no floating-point copy of the images, and no sum of millions of rounded terms.
    counts = torch.zeros(channels, 256, dtype=torch.float64)
    for chunk in pieces(images):
        counts += torch.stack([torch.bincount(chunk[:, c].flatten(), minlength=256) for c in range(channels)])
    grey = torch.arange(256, dtype=torch.float64) / 255
    total = counts[0].sum()
    mean = counts @ grey / total
    squares = (counts * (grey - mean[:, None]).square()).sum(1)
    return mean, (squares / (total - int(settings.standardise == "unbiased"))).sqrt()


def centred(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (n, c, h, w) minus the mean of all their values, and the L2 norms of the result, (n, 1, 1, 1)."""
    x = images - images.mean((1, 2, 3), keepdim=True)
    return x, x.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def whitening(
    chunks: Iterable[Tensor], regularisation: float, relative: bool, centred: bool, ddof: int
) -> tuple[Tensor, Tensor]:
    """Regularised ZCA of the images in `chunks`, float64 (n_i, F): feature mean (F,) and matrix W (F, F).

    Covariance = U diag(s) U^T with divisor n - ddof; W = U diag(1 / sqrt(s + r)) U^T; whitened = (x - mean) @ W.
    r is `regularisation`, times the mean eigenvalue if `relative`. The mean is 0 unless `centred`.
    Sources: MTT (kornia; centred, absolute, ddof 1), KIP and RFAD (not centred, relative, ddof 0), FRePo (centred,
    relative, ddof 0).
    """
    n, total, products = 0, torch.zeros(()), torch.zeros(())
    for chunk in chunks:
        n += len(chunk)
        total = total + chunk.sum(0)
        products = products + chunk.T @ chunk
    mean = total / n if centred else torch.zeros_like(total)
    covariance = products.sub_(n * mean.outer(mean)).div_(n - ddof)  # in place: see MATRICES in ddpipe/memory.py
    s, u = torch.linalg.eigh(covariance)
    s = s.clamp(min=0)  # rounding makes some of them negative when there are fewer images than features
    r = regularisation * s.mean() if relative else regularisation
    return mean, (u / (s + r).sqrt()) @ u.T
