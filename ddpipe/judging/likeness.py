"""Whether a set lies in the pixel space that somebody says: the statistics of its images tell.

A set is judged on test images that went through the preprocessing of the set's own pixel space; of a whitened set on
plain test images networks know next to nothing, and no error says why. Two numbers differ most between the spaces
and least by what is learned: how large the values are and how alike neighbouring pixels are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.preprocessing import fit
from ddpipe.settings import Dataset
from ddpipe.settings.datasets import Whitening

SAMPLE = 2000  # real images from which a space is described
ALIKE = 0.6  # a difference of neighbours that counts as much as a factor of two in size: noise is where sets begin
CLEARLY = 2.0  # how much nearer another space must be before this one is refused

PLAIN, WHITENED, PICTURES = "standardised", "whitened", "pictures from 0 to 1"


@dataclass(frozen=True)
class Likeness:
    """size: root mean square of the values. alike: correlation of neighbouring pixels, from -1 to 1."""

    size: float
    alike: float

    def distance(self, other: "Likeness") -> float:
        return math.hypot(math.log2(self.size / other.size), (self.alike - other.alike) / ALIKE)

    def __str__(self) -> str:
        return f"root mean square {self.size:.2f}, neighbouring pixels correlate by {self.alike:.2f}"


def likeness(images: Tensor) -> Likeness:
    """Of images (n, c, h, w)."""
    images = images.double()
    inner = images - images.mean((2, 3), keepdim=True)
    square = float(inner.square().mean().clamp_min(1e-12))
    across = (inner[..., 1:] * inner[..., :-1]).mean()
    down = (inner[..., 1:, :] * inner[..., :-1, :]).mean()
    return Likeness(max(float(images.square().mean().sqrt()), 1e-6), float((across + down) / 2) / square)


def spaces(prepared: Prepared, settings: Dataset) -> dict[str, Likeness]:
    """What the real images of `prepared` are like in its own pixel space, and in those that sets are confused with.

    Args:
        settings: of the prepared data.
    """
    stride = max(1, len(prepared.train_images) // SAMPLE)
    raw = prepared.train_images[::stride][:SAMPLE].contiguous()
    forms = {PLAIN: _plain(settings, None), WHITENED: _plain(settings, Whitening())}
    found = {name: likeness(fit(raw, form).transform(raw)) for name, form in forms.items()}
    own = likeness(prepared.preprocessing.transform(raw))
    return found | {own_space(settings): own, PICTURES: likeness(raw / 255)}


def own_space(settings: Dataset) -> str:
    if settings.whitening is not None:
        return WHITENED
    return PICTURES if settings.standardise == "none" else PLAIN


def _plain(settings: Dataset, whitening: Whitening | None) -> Dataset:
    changed = {"standardise": "none" if whitening else "biased", "per_image": False, "whitening": whitening}
    return settings.model_copy(update=changed | {"mean": None, "std": None})


def confused(images: Tensor, own: str, known: Mapping[str, Likeness]) -> str | None:
    """Why `images` are hardly of the space `own`, and of which they look; None where they may be."""
    seen = likeness(images)
    near = min(known, key=lambda name: seen.distance(known[name]))
    if near == own or CLEARLY * seen.distance(known[near]) > seen.distance(known[own]):
        return None
    return f"its images ({seen}) look {near} ({known[near]}), not {own} ({known[own]})"
