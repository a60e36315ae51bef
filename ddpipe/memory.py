"""What fits into memory: how many images are worked on at once, and which whitening the machine can hold. No torch."""

import contextlib
import os
from pathlib import Path

MOST = 1024  # images at once
LARGEST = 3 * 32**2  # numbers in an image of which so many are
MATRICES = 4  # of F x F float64 numbers at the peak of a fit, measured
GIB = 2**30  # bytes


def images_at_once(values: int) -> int:
    """Images of `values` numbers each in one pass that needs no more of them: reading, preprocessing, features, tests.

    Last bits may depend on it beyond 3x32x32, so it is the same on every machine.
    """
    return max(1, min(MOST, MOST * LARGEST // max(values, 1)))


def whitening_bytes(features: int) -> int:
    """What fitting a whitening of so many features takes: covariance, eigenvectors and their workspace."""
    return MATRICES * 8 * features**2


def oversized_whitening(shape: tuple[int, int, int]) -> str | None:
    """Why images (c, h, w) of this shape cannot be whitened here, with the key; None where they can."""
    features = shape[0] * shape[1] * shape[2]
    needed, there = whitening_bytes(features), machine_memory()
    if needed <= there:
        return None
    return (
        f"whitening: images of {shape[1]}x{shape[2]} need matrices of {features} x {features}, "
        f"{needed / GIB:.0f} GiB, but there are {there / GIB:.0f}; set it to null or use a smaller resolution"
    )


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its container's."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):  # versions 2 and 1
        with contextlib.suppress(OSError, ValueError):  # ValueError: "max"
            limits.append(int(Path(path).read_text()))
    return min(limits)
