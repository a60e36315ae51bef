"""How many images of what shape a dataset has."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """What networks see of a dataset: square images of `resolution` pixels."""

    channels: int
    resolution: int
    classes: int

    @property
    def values(self) -> int:
        """Numbers in one image."""
        return self.channels * self.resolution**2

    def __str__(self) -> str:
        return f"{self.channels}x{self.resolution}x{self.resolution}, {self.classes} classes"


@dataclass(frozen=True)
class Data:
    """The two parts of a dataset."""

    shape: Shape
    train: int
    test: int
    whitened: bool = False

    @property
    def per_class(self) -> int:
        """Training images of an average class."""
        return self.train // self.shape.classes


@dataclass(frozen=True)
class Seen:
    """Images that a reader has found, before they are prepared."""

    data: Data
    smallest: int  # training images of the smallest class
    which: str  # the name of that class


def indivisible(side: int, resolution: int) -> str | None:
    """Why images of `side` pixels cannot be averaged down to `resolution`, beginning with that key; None: they can."""
    if side % resolution == 0:
        return None
    nearest = min((part for part in range(1, side + 1) if side % part == 0), key=lambda part: abs(part - resolution))
    return f"resolution: {resolution} does not divide the side of the images, {side} pixels; set it to {nearest}"
