"""data.safetensors of sets that are larger than memory: filled from front to back, read back some rows at a time.

The bytes are those that the safetensors library writes for the same tensors.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from ddpipe.files.header import Shapes, header


@dataclass(frozen=True)
class Stored:
    """A uint8 array in an open file; `shape` and `split` as a tensor has them, but nothing stays in memory."""

    file: Any  # binary, open for reading
    start: int  # byte of the file
    shape: tuple[int, ...]

    def split(self, rows: int, /) -> Iterator[Tensor]:
        """The array `rows` rows at a time, each piece a tensor of its own."""
        row = torch.Size(self.shape[1:]).numel()
        for first in range(0, self.shape[0], rows):
            chunk = torch.empty((min(rows, self.shape[0] - first), *self.shape[1:]), dtype=torch.uint8)
            self.file.seek(self.start + first * row)
            if self.file.readinto(chunk.numpy().reshape(-1).data) != chunk.numel():
                raise OSError("the file was cut short while it was read back")
            yield chunk


class TensorFile:
    """A new safetensors file whose shapes are known before its contents; used as `with TensorFile(...) as file`.

    `write` appends rows to one of its tensors, in any order of names. Leaving the block puts the file on the disk;
    all rows must be there by then (ValueError).
    """

    def __init__(self, path: Path, shapes: Shapes):
        self.shapes = shapes
        begin, self.places = header(shapes)
        self.next = {name: start for name, (start, _) in self.places.items()}  # where its next row goes
        self.file = open(path, "w+b")  # noqa: SIM115 (closed by __exit__)
        self.file.write(begin)
        self.file.truncate(max(end for _, end in self.places.values()))

    def write(self, name: str, rows: Tensor) -> None:
        """Append `rows` to the tensor `name`; a tensor that has no rows (a scalar) is written whole."""
        assert rows.dtype == self.shapes[name][0] and tuple(rows.shape[1:]) == self.shapes[name][1][1:]
        self.file.seek(self.next[name])
        self.file.write(rows.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        self.next[name] += rows.numel() * rows.itemsize
        assert self.next[name] <= self.places[name][1]

    def stored(self, name: str) -> Stored:
        """The uint8 tensor `name`, to be read back while the file is open."""
        return Stored(self.file, self.places[name][0], self.shapes[name][1])

    def __enter__(self) -> "TensorFile":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self.file:
            if error is None:
                if missing := [name for name, (_, end) in self.places.items() if self.next[name] != end]:
                    raise ValueError(f"rows are missing: {missing}")
                self.file.flush()
                os.fsync(self.file.fileno())
