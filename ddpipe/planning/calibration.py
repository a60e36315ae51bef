"""The cache of measured seconds: data/calibration.json, by device, operation and number of images.

Times between two measured sizes lie on the line between them; beyond the largest the last line goes on. An operation
too slow for a second size is taken to be proportional to its images, as its multiply-adds are.
"""

import platform
from collections.abc import Iterable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from ddpipe.errors import UserError, out_of_memory
from ddpipe.files.artifacts import read_json, write_json
from ddpipe.planning.calls import Bench
from ddpipe.planning.measure import LIMIT, MEASURES, seconds
from ddpipe.progress import Progress, say
from ddpipe.settings.work import Operation, Work

FILE = Path("data") / "calibration.json"
Images = Annotated[int, Field(ge=1, le=10**12)]  # or bytes, of what is written
Seconds = Annotated[float, Field(gt=0, le=1e6, strict=True, allow_inf_nan=False)]
Points = Annotated[dict[Images, Seconds], Field(min_length=1)]  # images a call -> seconds a call
TABLES = TypeAdapter(dict[str, dict[str, Points]])  # by device and operation


def predict(points: Points, n: int) -> float:
    """Seconds of a call with n images, from those of calls with other numbers; more images are never quicker."""
    known: list[tuple[int, float]] = []
    for size in sorted(points):
        known.append((size, max(points[size], known[-1][1] if known else 0.0)))
    if n <= known[0][0]:
        return known[0][1]
    if len(known) == 1:
        return known[0][1] * n / known[0][0]
    (low, quick), (high, slow) = next(((a, b) for a, b in pairwise(known) if n <= b[0]), (known[-2], known[-1]))
    return quick + (slow - quick) * (n - low) / (high - low)


def device_key(device: str) -> str:
    """What all times of a process depend on: the device in words (with its threads), this processor, torch."""
    return f"{device}, {processor()}, torch {version('torch')}"


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Calibration:
    """Measured seconds on one device, kept in the project at `root`."""

    def __init__(self, root: Path, device: str):
        self.path, self.device = root / FILE, device_key(device)
        self.tables = self.read()
        self.table = self.tables.setdefault(self.device, {})

    def read(self) -> dict[str, dict[str, Points]]:
        """Tables of all devices; a damaged file is worth no more than a new measurement."""
        if not self.path.exists():
            return {}
        try:
            return TABLES.validate_python(read_json(self.path))
        except (UserError, ValidationError):
            say(f"{self.path} is damaged: what it held is measured again")
            return {}

    def write(self) -> None:
        tables = {
            device: {
                operation: {str(n): seconds for n, seconds in points.items()} for operation, points in table.items()
            }
            for device, table in self.tables.items()
        }
        write_json(self.path, tables)

    def seconds(self, work: Work) -> float | None:
        """Seconds of all calls of `work`; None when one of its operations was never measured."""
        total = 0.0
        for (operation, n), calls in work.items():
            points = self.table.get(operation.key())
            if points is None:
                return None
            total += calls * predict(points, n)
        return total

    def missing(self, works: Iterable[Work]) -> dict[Operation, int]:
        """What `works` call and was not measured far enough, each with its largest number of images."""
        needed: dict[Operation, int] = {}
        for work in works:
            for operation, n in work:
                needed[operation] = max(n, needed.get(operation, 0))
        return {operation: n for operation, n in needed.items() if self.next_size(operation, n) is not None}

    def next_size(self, operation: Operation, n: int) -> int | None:
        """The size to measure next for calls with n images; None when that would add nothing or take too long."""
        measure, points = MEASURES[operation.name], self.table.get(operation.key(), {})
        if not points:
            return measure.sizes[0]
        last = max(points)
        larger = [size for size in measure.sizes if size > last]
        if last >= n or not larger:
            return None
        slow = not measure.waits and points[last] * measure.repeats * larger[0] / last > LIMIT
        return None if slow else larger[0]

    def measure(self, works: Iterable[Work], bench: Bench) -> None:
        """Measure what `missing` names, a network at a time, and keep each operation at once: all may take minutes."""
        missing = self.missing(works)
        if not missing:
            return
        say(
            f"calibrating: {len(missing)} operations on this device, measured once and kept in {self.path}; "
            "stopped, the next `ddpipe plan` goes on there, and --no-calibration makes do with what is known"
        )
        with Progress("calibrating", len(missing)) as progress:
            for operation in sorted(missing, key=lambda found: (str(found.shape), str(found.network), found.name)):
                try:
                    self.climb(operation, missing[operation], bench)
                finally:
                    self.write()
                progress.advance(operation.name)

    def climb(self, operation: Operation, n: int, bench: Bench) -> None:
        """Measure size after size; what does not fit into memory is left out."""
        while (size := self.next_size(operation, n)) is not None:
            try:
                taken = seconds(bench, operation, size)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                say(f"calibrating: {operation.name} of {size} images is too much for the memory: {operation.key()}")
                return
            self.table.setdefault(operation.key(), {})[size] = taken
