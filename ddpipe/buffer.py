"""Experts on disk: `snapshots` (S, P) of each in a file of its own, written row by row, read row by row."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddpipe.artifacts import mend, read_json, unwritable
from ddpipe.errors import UserError
from ddpipe.regular import regular

NAMES = {"float32": "F32", "float16": "F16"}  # safetensors' names


class Snapshots:
    """The file of one expert while it grows; its bytes are those that `write_tensors` gives the finished (S, P) array.

    Every snapshot is written once, where it stays, and none is kept in memory. The header promises all S rows, so
    nothing takes the file for a whole one before its last. Used as `with Snapshots(...) as file`.

    Args:
        shape: (S, P).
        kept: snapshots of an earlier process to go on from; what stands behind them is cut off.

    Raises:
        UserError: when the file cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, int], dtype: str, kept: int = 0):
        self.path, self.dtype = path, getattr(torch, dtype)
        start = header(shape, dtype)
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
        with self.writing():
            self.file.write(snapshot.to(self.dtype).numpy().data)

    def sync(self) -> None:
        """What was appended outlives the process, and the machine."""
        with self.writing():
            self.file.flush()
            os.fsync(self.file.fileno())


def header(shape: tuple[int, int], dtype: str) -> bytes:
    """How safetensors begins a file whose one tensor is `snapshots`."""
    size = shape[0] * shape[1] * getattr(torch, dtype).itemsize
    entry = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [0, size]}
    text = json.dumps({"__metadata__": {}, "snapshots": entry}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def whole_rows(path: Path, shape: tuple[int, int], dtype: str) -> int:
    """How many snapshots of an (S, P) file have been written; 0 without a file."""
    start, row = len(header(shape, dtype)), shape[1] * getattr(torch, dtype).itemsize
    return max(0, path.stat().st_size - start) // row if path.exists() else 0


def is_whole(path: Path) -> bool:
    """Whether `path` is a safetensors file with all that its header promises."""
    try:
        with safe_open(path, "pt"):
            return True
    except (SafetensorError, OSError):
        return False


class Buffer:
    """The folder data/experts/<buffer>: one file an expert, `snapshots` (S, P), memory-mapped.

    Raises:
        UserError: a file is missing or damaged.
    """

    def __init__(self, folder: Path, device: torch.device | str = "cpu"):
        self.folder, self.device = folder, device
        self.about: dict[str, Any] = read_json(folder / "experts.json")
        if not isinstance(self.about, dict) or not self.about.get("networks"):
            raise UserError(f"{folder / 'experts.json'} names no networks; {mend(folder / 'experts.json')}")
        self.files = [self.open(number) for number in range(len(self))]

    def open(self, number: int) -> Any:
        path = self.folder / f"{number}.safetensors"
        try:
            return safe_open(regular(path), "pt").get_slice("snapshots")
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is missing or damaged ({error}); {mend(path)}") from error

    def __len__(self) -> int:
        """Number of experts."""
        return int(self.about["networks"])

    @property
    def epochs(self) -> int:
        """The last snapshot's number; snapshot 0 is the start."""
        return min(file.get_shape()[0] for file in self.files) - 1

    def snapshot(self, expert: int, number: int) -> Tensor:
        """(P,) float32 copy on the device; `number` -1 is the last one. Only this row is read."""
        rows = range(self.files[expert].get_shape()[0])
        return self.files[expert][rows[number]].to(self.device, torch.float32, copy=True)

    def check(self, data_checksum: str, network: dict[str, Any], epochs: int = 0) -> None:
        """Refuse experts of other images, another preprocessing or network, or of too few epochs.

        Args:
            network: the settings of the cell's network.
            epochs: the last snapshot that the cell asks for.
        """
        name = self.about.get("buffer")
        if self.about.get("data_checksum") != data_checksum:
            raise UserError(
                f"{self.folder} was trained on other images or another preprocessing than the cell's data; "
                f"run `dvc repro experts@{name}`"
            )
        if self.about.get("recipe", {}).get("architecture") != network:
            raise UserError(f"{self.folder} holds another network than the cell's; name a buffer of the cell's network")
        if self.epochs < epochs:
            raise UserError(
                f"experts.{name}: {self.epochs} epochs are kept, but the cell goes up to {epochs}; "
                f"set keep: all and epochs to {epochs} or more"
            )
