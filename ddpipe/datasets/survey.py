"""A look at the user's own images before they are prepared: what would be refused, with counts, and what is read how.

No torch here: `ddpipe check` looks too. Only the heads of the files are read, of many files those of some.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ddpipe.datasets.folders import TEST, folders
from ddpipe.datasets.npy import files, tested
from ddpipe.datasets.pictures import Look, brightest, look
from ddpipe.errors import UserError
from ddpipe.settings import Dataset

DARK = 4095  # values of 12 bits: as images of 16 bits they are nearly black
DEEP = 50  # images of 16 bits whose values are looked at


@dataclass(frozen=True)
class Survey:
    """What lies at the path of a dataset, and the looks of the images that were looked at.

    left_out: what lies there too, and is not read -> how many. part: name of the folder that is the test part.
    """

    where: str
    total: int = 0
    looks: list[tuple[Path, Look]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    resolution: int | None = None
    part: str = TEST[0]
    left_out: Counter[str] = field(default_factory=Counter)


def survey(name: str, settings: Dataset, most: int | None = None) -> Survey:
    """Look at the images of the entry `name`, a folder or .npz file of the user's.

    Args:
        most: files whose heads are read, evenly spaced; None: all.

    Raises:
        UserError: nothing can be read there, or its parts are not what the settings say.
    """
    assert settings.path is not None
    where = f"{settings.table}.{name}"
    if settings.source == "npz":
        first, second = files(where, Path(settings.path))
        for npz, key in ((first, "train_images"), (first, "test_images"), (second, "test_images")):
            if npz is not None and key in npz:
                npz.header(key)
        tested(where, first, second, settings.test_fraction)
        return Survey(where)
    found = folders(settings.table, name, Path(settings.path), settings.test_fraction)
    images = [
        file
        for file, label in (*found.train, *(found.test or ()))
        if settings.classes is None or found.classes[label] in settings.classes
    ]
    looks, unreadable = [], []
    for file in images[:: 1 if most is None else max(1, -(-len(images) // most))]:
        try:
            looks.append((file, look(file, file)))
        except UserError as error:
            unreadable.append(str(error))
    return Survey(where, len(images), looks, unreadable, settings.resolution, found.folder, found.left_out)


def refusals(found: Survey) -> Iterator[str]:
    """One sentence for each kind of images that cannot be read as they are, with their number."""
    seen = len(found.looks) + len(found.unreadable)
    of = f"of {seen}" + (f" images looked at (of {found.total})" if seen < found.total else " images")
    if found.unreadable:
        first, n = found.unreadable[0], len(found.unreadable)
        yield f"{found.where}.path: {n} {of} cannot be read; the first: {first}"
    if wide := [file for file, seen in found.looks if seen.bits == 32]:
        yield f"{found.where}.path: {len(wide)} {of} have 32 bits a channel, as {wide[0]}; save them with 8"
    deep = [file for file, seen in found.looks if seen.bits == 16]
    if deep and max(brightest(file, file) for file in deep[:: -(-len(deep) // DEEP)]) <= DARK:
        yield (
            f"{found.where}.path: {len(deep)} {of} have 16 bits a channel, as {deep[0]}, but hold no value above "
            f"{DARK}, so that their upper 8 bits are nearly black; scale their values to 0..65535, or to 0..255 with 8 "
            "bits"
        )
    if found.resolution is None and found.looks:
        count, told = sizes(found)
        if count > 1:
            yield (
                f"{found.where}.resolution: the {of.removeprefix('of ')} have {count} sizes (width x height), "
                f"{told}; set resolution to the side they shall be resized to"
            )
        elif not found.looks[0][1].square:
            yield (
                f"{found.where}.resolution: all images are {told} (width x height) but must be square; set resolution "
                "to the side that their largest centred square shall be resized to"
            )


def sizes(found: Survey) -> tuple[int, str]:
    """How many sizes there are, and the most frequent ones in words."""
    counts = Counter((seen.width, seen.height) for _, seen in found.looks)
    told = ", ".join(f"{w}x{h} ({n})" for (w, h), n in counts.most_common(3))
    return len(counts), told + (", ..." if len(counts) > 3 else "")


def kinds(found: Survey) -> Iterator[str]:
    """The sizes and modes of the images."""
    if found.looks:
        yield f"sizes (width x height): {sizes(found)[1]}"
        modes = Counter(seen.mode for _, seen in found.looks)
        yield f"modes: {', '.join(f'{mode} ({n})' for mode, n in modes.most_common())}"


def notes(found: Survey) -> Iterator[str]:
    """One sentence for each thing that is read in a way that somebody might not expect, with its number."""
    if found.part != TEST[0]:
        yield f"the test part is the folder {found.part}"
    seen = [one for _, one in found.looks]
    total = f"{len(seen)} images" + ("" if len(seen) == found.total else " looked at")
    if seen and (side := found.resolution):
        if n := sum(not one.square for one in seen):
            yield f"{n} of {total} are not square: their largest centred square is taken"
        if n := sum(min(one.width, one.height) < side for one in seen):
            yield f"{n} of {total} are smaller than {side}x{side} and are enlarged"
    if n := sum(one.turned for one in seen):
        yield f"{n} of {total} are turned or mirrored as their EXIF data say"
    if n := sum(one.transparent for one in seen):
        yield f"{n} of {total} have transparency: white shows through"
    if n := sum(one.bits == 16 for one in seen):
        yield f"{n} of {total} have 16 bits a channel: the upper 8 are taken"
    for what, n in found.left_out.most_common():
        yield f"left out: {what} ({n})"
