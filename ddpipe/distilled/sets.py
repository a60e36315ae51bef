"""Distilled sets on disk: what distillation leaves and evaluation trains on; `ddpipe.load` is in loaded.py.

A folder holds `distilled.json` (method, resolved settings, budget, preprocessing, class names, and the digests of the
files beside it, under a seal), `<number>.safetensors` for every set and `preprocessing.safetensors`; where a cell asks
for them, snapshots of set 0 from before its end, `0.at-<iteration>.safetensors`, in the same form. Sets of chosen real
images are row numbers into the prepared data (with its checksum), never copies. Nothing in the folder depends on
time or machine: its bytes repeat. Whoever reads a set reads it here, whole and checked.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.preprocessing import Preprocessing
from ddpipe.errors import UserError
from ddpipe.files import layout
from ddpipe.files.artifacts import file_digest, mend, read_tensors, verify, write_sealed, write_tensors
from ddpipe.files.hints import ONE, layouts
from ddpipe.pipeline import descriptions
from ddpipe.pipeline.descriptions import set_file
from ddpipe.settings import Scale

ABOUT, FITTED = "distilled.json", "preprocessing.safetensors"
CHOSEN = {"rows": "int64 V"}
LEARNED = {
    "images": "float32 V c h h",
    "targets": "float32 V K",
    "loss?": "float32 I",
    "contents?": "int64 V",
    "code.*": "float32 ...",
}
TOLERANCE = 1e-3  # of the sum of targets


def write(
    folder: Path,
    info: dict[str, Any],
    preprocessing: Preprocessing,
    sets: list[dict[str, Tensor]],
    snapshots: Mapping[int, dict[str, Tensor]] | None = None,
) -> str:
    """Write a distilled folder; the seal of all that it says.

    Args:
        info: what distilled.json says of the cell and the data (`descriptions.Distilled`), with `targets` and `hints`
            where they are not the usual ones; the rest is added.
        sets: per set either `images` (V, c, h, w) and `targets` (V, K), with `loss` and `hint.<name>` and, where it is
            factorised, `contents` (V,) and `code.<name>`; or `rows` (V,).
        snapshots: of set 0, by the iteration after which they were kept; as `sets`, without `loss`.

    Raises:
        UserError: a set is none that could be read back.
    """
    write_tensors(folder / FITTED, preprocessing.tensors())
    written = {set_file(number): tensors for number, tensors in enumerate(sets)}
    written |= {set_file(0, at): tensors for at, tensors in (snapshots or {}).items()}
    for file, tensors in written.items():
        try:
            check(tensors, len(info["classes"]), preprocessing, *told(info))
        except ValueError as error:
            where = "set " + file.removesuffix(".safetensors").replace(".at-", " after iteration ")
            raise UserError(f"{where} cannot be used: {error}; lower the learning rates under `outer`") from error
        write_tensors(folder / file, tensors)
    said = {"preprocessing": preprocessing.to_json(), "sets": len(sets)}
    said |= {"snapshots": sorted(snapshots)} if snapshots else {}
    return write_sealed(
        folder / ABOUT, info | said | {"files": {name: file_digest(folder / name) for name in (FITTED, *written)}}
    )


@dataclass(frozen=True)
class Distilled:
    """A distilled folder whose description and preprocessing were read; the sets are read one at a time."""

    folder: Path
    about: descriptions.Distilled
    preprocessing: Preprocessing

    @classmethod
    def open(cls, folder: Path) -> "Distilled":
        """UserError when the folder is missing or not what `write` left."""
        if not folder.is_dir():
            raise UserError(f"{folder} does not exist; {mend(folder / ABOUT)}")
        about = descriptions.read(folder / ABOUT, descriptions.Distilled)
        verify(folder / FITTED, about.files[FITTED])
        tensors = read_tensors(folder / FITTED)[0]
        with refused(folder / FITTED):
            return cls(folder, about, Preprocessing.from_parts(about.preprocessing.model_dump(mode="json"), tensors))

    def tensors(self, number: int, data: Prepared | None = None, at: int | None = None) -> dict[str, Tensor]:
        """What `write` was given for set `number`, or as its snapshot after iteration `at`.

        Args:
            data: what it was made from, if that is at hand.

        Raises:
            UserError: when there is no such set, or its file is missing or damaged or no set of these classes and data.
        """
        if not 0 <= number < self.about.sets:
            raise UserError(f"{self.folder} holds sets 0 to {self.about.sets - 1}, not {number}")
        path = self.folder / set_file(number, at)
        if path.name not in self.about.files:
            kept = ", ".join(map(str, self.about.snapshots)) or "none"
            raise UserError(f"{self.folder} holds no snapshot of set {number} after iteration {at} (of set 0: {kept})")
        verify(path, self.about.files[path.name])
        tensors = read_tensors(path)[0]
        with refused(path):
            check(tensors, len(self.about.classes), self.preprocessing, self.about.targets, self.about.hints, data)
        return tensors

    def check_same_data(self, data: Prepared) -> None:
        """Training on one preprocessing and testing on another is the field's most frequent mistake: refused."""
        made_from = self.about.data_checksum, self.about.classes, self.preprocessing.digest()
        if made_from != (data.checksum, data.classes, data.preprocessing.digest()):
            raise UserError(
                f"{self.folder} was made from other images or another preprocessing than data/prepared/{data.name}; "
                f"run `dvc repro distill@{self.about.cell}`"
            )


def told(info: Mapping[str, Any]) -> tuple[Scale, dict[str, str]]:
    """Scale of the targets, and shapes of hints, of a description that is still to be written."""
    return info.get("targets", "one-hot"), info.get("hints", {})


def check(
    tensors: dict[str, Tensor],
    classes: int,
    preprocessing: Preprocessing,
    scale: Scale = "one-hot",
    hints: Mapping[str, str] | None = None,
    data: Prepared | None = None,
) -> None:
    """ValueError, in words, unless `tensors` are a set of so many classes, so preprocessed, of `data`.

    Args:
        scale: of the targets: distributions over the classes, or these less 1 / K, unbounded once they are learned.
        hints: name -> shape of those that are no single numbers.
    """
    if "rows" in tensors:
        layout.check(tensors, CHOSEN)
        rows = tensors["rows"]
        if int(rows.min()) < 0 or (data is not None and int(rows.max()) >= len(data.train_labels)):
            raise ValueError("rows reach beyond the training images")
        if len(rows.unique()) < len(rows):
            raise ValueError("rows name an image twice")
        return
    sizes = {"K": classes, "c": len(preprocessing.scale)}
    if data is not None:
        sizes["h"] = data.resolution
    elif preprocessing.centre is not None:
        sizes["h"] = math.isqrt(len(preprocessing.centre) // sizes["c"])
    layout.check(tensors, LEARNED | layouts(hints or {}) | ONE, **sizes)
    targets, contents = tensors["targets"], tensors.get("contents")
    distributions = float(targets.min()) >= 0 and float((targets.sum(1) - 1).abs().max()) <= TOLERANCE
    if scale == "one-hot" and not distributions:
        raise ValueError("targets are no distributions over the classes")
    if contents is not None:
        if int(contents.min()) < 0 or int(contents.max()) >= len(contents):
            raise ValueError("contents do not number bases")
        shown = contents.bincount()
        if int(shown.min()) != int(shown.max()):
            raise ValueError("contents do not show every base equally often")


@contextlib.contextmanager
def refused(path: Path) -> Iterator[None]:
    """A ValueError about what `path` holds becomes a sentence."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{path} is no distilled set: {error}; {mend(path)}") from error
