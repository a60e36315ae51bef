"""Experts on disk: `snapshots` (S, P) of each in a file of its own, written row by row, read row by row.

Every row has a digest, taken when it is written and held against it when it is read: a damaged row is never used.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddpipe.errors import UserError
from ddpipe.files.artifacts import mend, unwritable, write_sealed
from ddpipe.files.header import DTYPES, header
from ddpipe.files.regular import regular
from ddpipe.pipeline import descriptions
from ddpipe.pipeline.descriptions import Rows
from ddpipe.sending import sent


class Snapshots:
    """The file of one expert while it grows; its bytes are those that `write_tensors` gives the finished (S, P) array.

    Every snapshot is written once, where it stays, and none is kept in memory. The header promises all S rows, so
    nothing takes the file for a whole one before its last. Used as `with Snapshots(...) as file`.

    Args:
        shape: (S, P).
        digests: of the snapshots of an earlier process to go on from; what stands behind them is cut off. Those of
            the new ones are appended.

    Raises:
        UserError: when the file cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, int], dtype: str, digests: Sequence[str] = ()):
        self.path, self.dtype, self.digests = path, getattr(torch, dtype), list(digests)
        start, kept = beginning(shape, dtype), len(digests)
        with self.writing():
            if not kept:  # a new file, not new contents: the old one may be a finished buffer's by another name
                path.unlink(missing_ok=True)
            self.file = open(path, "r+b" if kept else "w+b")  # noqa: SIM115 (__exit__ closes it)
            if not kept:
                self.file.write(start)
            self.file.seek(len(start) + kept * shape[1] * self.dtype.itemsize)
            self.file.truncate()

    def __enter__(self) -> "Snapshots":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self.writing():
            self.file.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with suppress(OSError, AttributeError):  # the same error once more; no file was opened
                self.file.close()
            raise unwritable(self.path, error) from error

    def append(self, snapshot: Tensor) -> None:
        """The next row, (P,) on the CPU."""
        row = snapshot.to(self.dtype)
        with self.writing():
            self.file.write(row.numpy().data)
        self.digests.append(row_digest(row))

    def sync(self) -> None:
        """What was appended outlives the process, and the machine."""
        with self.writing():
            self.file.flush()
            os.fsync(self.file.fileno())


def beginning(shape: tuple[int, int], dtype: str) -> bytes:
    """How safetensors begins a file whose one tensor is `snapshots`."""
    return header({"snapshots": (getattr(torch, dtype), shape)})[0]


def row_digest(row: Tensor) -> str:
    """SHA-256 of a snapshot (P,) on the CPU, as it is stored."""
    return hashlib.sha256(row.contiguous().numpy().data).hexdigest()


def holds(path: Path, shape: tuple[int, int], dtype: str, digests: Sequence[str]) -> bool:
    """Whether an (S, P) file begins with the snapshots of these digests; with all S, whether it is whole."""
    start, size = beginning(shape, dtype), shape[1] * getattr(torch, dtype).itemsize
    try:
        with open(path, "rb") as file:
            return (
                file.read(len(start)) == start
                and all(hashlib.sha256(file.read(size)).hexdigest() == digest for digest in digests)
                and (len(digests) < shape[0] or not file.read(1))
            )
    except FileNotFoundError:
        return False


def write_about(folder: Path, about: dict[str, Any], stored: Rows) -> str:
    """Write experts.json: `about`, and how the files beside it look; the seal of all that."""
    return write_sealed(folder / "experts.json", about | {"snapshots": stored.model_dump(mode="json")})


class Buffer:
    """The folder data/experts/<buffer>: one file an expert, `snapshots` (S, P), memory-mapped.

    Raises:
        UserError: a file is missing or damaged; `snapshot` for a damaged row.
    """

    def __init__(self, folder: Path, device: torch.device | str = "cpu"):
        self.folder, self.device = folder, device
        said = descriptions.read(folder / "experts.json", descriptions.Experts)
        self.about = said.model_dump(mode="json")
        self.name, self.stored, self.data_checksum = said.buffer, said.snapshots, said.data_checksum
        self.architecture = said.recipe.get("architecture")
        self.files = [self.open(number) for number in range(len(self))]  # mapped: no descriptors are kept
        self.verified: set[tuple[int, int]] = set()  # rows that this process has held against their digests

    def open(self, number: int) -> Any:
        path = self.folder / f"{number}.safetensors"
        try:
            file = safe_open(regular(path), "pt").get_slice("snapshots")
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is missing or damaged ({error}); {mend(path)}") from error
        found = tuple(file.get_shape()), file.get_dtype(), len(self.stored.digests[number])
        if found != (self.stored.shape, DTYPES[getattr(torch, self.stored.dtype)], self.stored.shape[0]):
            raise UserError(f"{path} holds other snapshots than experts.json beside it says; {mend(path)}")
        return file

    def __len__(self) -> int:
        """Number of experts."""
        return len(self.stored.digests)

    @property
    def epochs(self) -> int:
        """The last snapshot's number; snapshot 0 is the start."""
        return self.stored.shape[0] - 1

    def snapshot(self, expert: int, number: int) -> Tensor:
        """(P,) float32 copy on the device; `number` -1 is the last one. Only this row is read, and verified once."""
        number = range(self.stored.shape[0])[number]
        row = self.files[expert][number]
        if (expert, number) not in self.verified:
            if row_digest(row) != self.stored.digests[expert][number]:
                path = self.folder / f"{expert}.safetensors"
                raise UserError(f"{path} is damaged (snapshot {number} is not what was written); {mend(path)}")
            if not row.isfinite().all():
                raise UserError(
                    f"{self.folder / f'{expert}.safetensors'}: snapshot {number} holds weights that are not finite; "
                    f"lower experts.{self.name}.lr, or set dtype to float32, and train them again"
                )
            self.verified.add((expert, number))
        return sent(row.to(torch.float32, copy=True), self.device)

    def check(self, data_checksum: str, network: dict[str, Any], epochs: int = 0) -> None:
        """Refuse experts of another buffer, other images, another preprocessing or network, or of too few epochs.

        Args:
            network: the settings of the cell's network.
            epochs: the last snapshot that the cell asks for.
        """
        name = self.folder.name
        if self.name != name:
            raise UserError(f"{self.folder} holds the experts of {self.name!r}; {mend(self.folder / 'experts.json')}")
        if self.data_checksum != data_checksum:
            raise UserError(
                f"{self.folder} was trained on other images or another preprocessing than the cell's data; "
                f"run `dvc repro experts@{name}`"
            )
        if self.architecture != network:
            raise UserError(f"{self.folder} holds another network than the cell's; name a buffer of the cell's network")
        if self.epochs < epochs:
            raise UserError(
                f"experts.{name}: {self.epochs} epochs are kept, but the cell goes up to {epochs}; "
                f"set keep: all and epochs to {epochs} or more"
            )
