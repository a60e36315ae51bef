"""What the stage `course` leaves of a cell: <cell>.course.json, .course.png and .space.json; their only reader.

No torch and no pandas here: the report, the page and `ddpipe explain` read them.
"""

import math
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.files.regular import inside
from ddpipe.pipeline import descriptions
from ddpipe.pipeline.descriptions import Classes, Finite, Key, Percent, Sha256
from ddpipe.pipeline.results import digest
from ddpipe.settings import Settings
from ddpipe.settings.bounds import Moments, Natural, PositiveInt, Probability

Numbers = tuple[Finite, ...]


class Seen(Settings):
    """Of which cell something is told."""

    cell: Key
    seal: Sha256


Of = TypeVar("Of", bound=Seen)


class Course(Seen):
    """Accuracies in percent of `n` networks trained on set 0 as it was after each of `iterations`; the last is the set.

    `fingerprints`, of each moment, all on which its accuracies depend; `files` has the SHA-256 of the picture.
    """

    network: Key
    protocol: Key
    iterations: Annotated[Moments, Field(min_length=1)]
    accuracies: tuple[tuple[Percent, ...], ...]
    mean: tuple[Percent, ...]
    std: tuple[Percent, ...]
    n: PositiveInt
    files: dict[str, Sha256]
    fingerprints: tuple[Sha256, ...]

    @model_validator(mode="after")
    def consistent(self) -> "Course":
        moments = len(self.iterations)
        if {len(self.accuracies), len(self.mean), len(self.std), len(self.fingerprints)} != {moments}:
            raise ValueError("accuracies, mean, std and fingerprints must be one an iteration")
        if any(len(row) != self.n for row in self.accuracies):
            raise ValueError(f"accuracies must be of {self.n} networks")
        for row, said in zip(self.accuracies, self.mean, strict=True):
            if abs(math.fsum(row) / self.n - said) > 1e-6:
                raise ValueError(f"mean is {said:g}, but that is not the mean of its accuracies")
        return self


class Points(Settings):
    """Images in two planes: of their classes, by number, the coordinates."""

    classes: tuple[Natural, ...]
    pca_x: Numbers
    pca_y: Numbers
    tsne_x: Numbers
    tsne_y: Numbers

    @model_validator(mode="after")
    def consistent(self) -> "Points":
        if len({len(getattr(self, key)) for key in type(self).model_fields}) > 1:
            raise ValueError("a point must have its class and two coordinates in either plane")
        return self


class Space(Seen):
    """Real and synthetic images in the features of one network (evaluation/space.py).

    Coverage is that of `reference` real images by the finished set and by `drawn` random real images of the same
    budget, in balls of `neighbours`. `explained`: the share of the variance of the real images' features in each
    direction of the plane.
    """

    experts: Key
    features: PositiveInt
    classes: Classes
    neighbours: PositiveInt
    reference: PositiveInt
    synthetic: PositiveInt
    drawn: PositiveInt
    coverage: dict[Literal["set", "random"], Probability]
    explained: tuple[Probability, Probability]
    points: dict[Literal["real", "set", "random"], Points]
    fingerprint: Sha256

    @model_validator(mode="after")
    def consistent(self) -> "Space":
        if len(self.coverage) != 2 or len(self.points) != 3:
            raise ValueError("coverage and points must be of the set and of random images, and points of real ones")
        if any(max(own.classes, default=0) >= len(self.classes) for own in self.points.values()):
            raise ValueError("a point is of a class that is none")
        return self


def course(config: Config, cell: str) -> Course | None:
    """A cell's accuracy while it is distilled; None where it was not measured.

    Raises:
        UserError: the file is damaged, or of another cell, network or protocol.
    """
    row = config.row(cell)
    found = _read(config, cell, "course.json", Course)
    if found and (found.network, found.protocol) != (row.network, row.protocol):
        said = f"{found.network}, {found.protocol}, not {row.network}, {row.protocol}"
        raise UserError(f"{place(config, cell, 'course.json')} is of another evaluation ({said}); {mend(cell)}")
    return found


def space(config: Config, cell: str) -> Space | None:
    """Where a cell's images lie among real ones; None where nobody looked. Errors as those of `course`."""
    return _read(config, cell, "space.json", Space)


def picture(config: Config, cell: str) -> bytes | None:
    """The strip of a cell's images while they are distilled, a PNG; None where there is none.

    Raises:
        UserError: it is not the one that was written with the accuracies.
    """
    path, found = place(config, cell, "course.png"), course(config, cell)
    if found is None or not path.exists():
        return None
    content = inside(config.results, path).read_bytes()
    if found.files.get(path.name) != digest(content):
        raise UserError(f"{path} is damaged (its SHA-256 is not what was written); {mend(cell)}")
    return content


def place(config: Config, cell: str, kind: str) -> Path:
    return config.results / config.row(cell).dataset / f"{cell}.{kind}"


def mend(cell: str) -> str:
    return f"delete it and run `dvc repro course@{cell}`"


def _read(config: Config, cell: str, kind: str, form: type[Of]) -> Of | None:
    path = place(config, cell, kind)
    if cell not in config.courses or not path.exists():
        return None
    inside(config.results, path)
    found = descriptions.read(path, form, mend(cell))
    if found.cell != cell:
        raise UserError(f"{path} is of another cell ({found.cell}); {mend(cell)}")
    return found
