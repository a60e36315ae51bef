"""Folders of images as people lay them out: classes, their images, the split, what is left out; no torch here."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ddpipe.datasets.pictures import SUFFIXES
from ddpipe.errors import UserError
from ddpipe.settings.reading import did_you_mean

TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first one that is there is the test part
KINDS = " ".join(sorted(SUFFIXES))


@dataclass(frozen=True)
class Folders:
    """Images (path, label) in the order of classes and names. left_out: what lies there too -> how many files."""

    classes: tuple[str, ...]
    train: list[tuple[Path, int]]
    test: list[tuple[Path, int]] | None  # None: nothing says which are for testing
    folder: str = TEST[0]  # name of that of the test part
    left_out: Counter[str] = field(default_factory=Counter)


def folders(table: str, name: str, path: Path, test_fraction: float | None) -> Folders:
    """The images below `path`: in train/<class> and test/<class>, or in <class> with a stated split.

    Everything below a class belongs to it, in folders of its own too. Hidden files are no images.

    Raises:
        UserError: in words, for what cannot be meant so; `table` and `name` say where `path` stands in params.yaml.
    """
    where = f"{table}.{name}.path"
    refuse_bytes_below(where, path)
    if not path.is_dir():
        raise UserError(f"{where}: {path} is not a folder; name one that has a sub-folder of images for each class")
    parts = {word.lower(): path / word for word in sorted(directories(path), reverse=True)}
    train = next((parts[word] for word in TRAIN if word in parts), None)
    test = next((parts[word] for word in TEST if word in parts), None)
    if test is not None and train is None:
        raise UserError(f"{where}: {path} has a folder {test.name} but no folder train; add it")
    refuse_links(where, path, [part.name for part in (train, test) if part])
    root, left_out = train or path, Counter[str]()
    if train is not None:
        for other in sorted(path.iterdir()):
            if other not in (train, test) and not other.name.startswith("."):
                note(left_out, other, other)
    classes = class_names(where, root, left_out)
    first = labelled(where, root, classes, left_out)
    if test is None:
        if test_fraction is None:
            raise UserError(
                f"{table}.{name}.test_fraction: {path} has no folder test; add one, or set the fraction to set aside"
            )
        return Folders(classes, first, None, left_out=left_out)
    if test_fraction is not None:
        raise UserError(
            f"{table}.{name}.test_fraction: {test} exists, so there is nothing to split; leave test_fraction out"
        )
    for unknown in sorted(set(class_names(where, test, left_out)) - set(classes)):
        near = did_you_mean(unknown, list(classes))
        known = near if "did you mean" in near else "; add it there"
        raise UserError(f"{where}: class {unknown!r} of {test} has no folder in {root}{known}")
    return Folders(classes, first, labelled(where, test, classes, left_out), test.name, left_out)


def directories(folder: Path) -> list[str]:
    """Names of the sub-folders; hidden ones do not count."""
    return [entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]


def class_names(where: str, root: Path, left_out: Counter[str] | None = None) -> tuple[str, ...]:
    """Names of the sub-folders of `root`, sorted; hidden ones are no classes."""
    names = sorted(directories(root))
    if not names:
        raise UserError(f"{where}: {root} has no sub-folders; put the images of each class into a folder of its own")
    refuse_bytes(where, root, names)
    if left_out is not None and (loose := sum(is_image(entry.name) for entry in os.scandir(root))):
        left_out[f"images in {root} itself, in no class"] += loose
    return tuple(names)


def refuse_bytes_below(where: str, path: Path) -> None:
    """UserError for a name of `path` or below it that is no text: DVC could not list it."""
    refuse_bytes(where, Path(), [str(path)])
    for root, inner, names in os.walk(path):
        refuse_bytes(where, Path(root), (*inner, *names))


def refuse_bytes(where: str, folder: Path, names: Sequence[str]) -> None:
    """UserError for the first of the `names` in `folder` that is no text."""
    for path in (folder / name for name in names if not is_text(name)):
        kind, told = "folder" if path.is_dir() else "file", f"{os.fsencode(path)!r}"[2:-1]
        raise UserError(
            f"{where}: the name of the {kind} {told} is no text in UTF-8; rename it, or, if it is, run in a locale of "
            "UTF-8 (LC_ALL=C.UTF-8)"
        )


def is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def labelled(where: str, root: Path, classes: Sequence[str], left_out: Counter[str]) -> list[tuple[Path, int]]:
    """The images of every class folder in `root`.

    Raises:
        UserError: a folder is a link, or holds a split of its own, which would be mixed.
    """
    refuse_links(where, root, directories(root))
    found = []
    for label, word in enumerate(classes):
        folder = root / word
        inner = {name.lower(): name for name in directories(folder)} if folder.is_dir() else {}
        if any(name in inner for name in TRAIN) and any(name in inner for name in TEST):
            raise UserError(
                f"{where}: {folder} has folders {', '.join(sorted(inner.values()))}; the split must lie above the "
                "classes: train/<class> and test/<class>"
            )
        found += [(file, label) for file in image_files(where, folder, left_out)]
    return found


def refuse_links(where: str, folder: Path, names: Sequence[str]) -> None:
    """UserError for the first sub-folder that is a link: DVC would not look behind it."""
    for path in (folder / name for name in sorted(names)):
        if path.is_symlink():
            raise UserError(
                f"{where}: {path} is a link to a folder, where DVC does not see what changes; put the folder itself "
                "there, or make the whole path a link, behind which DVC looks"
            )


def image_files(where: str, folder: Path, left_out: Counter[str] | None = None) -> list[Path]:
    """The images of one class, those in its sub-folders too, sorted by name. Hidden files and folders do not count.

    Args:
        left_out: of the user's own images: counts other files; no sub-folder may be a link then.
    """
    files: list[Path] = []
    for root, inner, names in os.walk(folder):
        inner[:] = [word for word in inner if not word.startswith(".")]
        if left_out is not None:
            refuse_links(where, Path(root), inner)
        files += [Path(root, word) for word in names if not word.startswith(".")]
    paths = sorted(path for path in files if is_image(path.name))
    others = Counter(path.suffix.lower() for path in files if not is_image(path.name))
    if not paths:
        there = ", ".join(f"{n} {suffix or 'without a suffix'}" for suffix, n in others.most_common(4))
        has = f"; it has {there}" if there else ""
        raise UserError(f"{where}: {folder} has no images ({KINDS}){has}; add some, or remove the class everywhere")
    if left_out is not None:
        left_out.update({f"files called *{end}" if end else "files without a suffix": n for end, n in others.items()})
    return paths


def note(left_out: Counter[str], path: Path, title: Path) -> None:
    """Count the images at or below `path`, which are not read."""
    found = sum(is_image(word) for _, _, names in os.walk(path) for word in names) if path.is_dir() else 0
    if found or is_image(path.name) and path.is_file():
        left_out[f"images in {title}" if path.is_dir() else f"images in {path.parent} itself, in no class"] += (
            found or 1
        )


def is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
