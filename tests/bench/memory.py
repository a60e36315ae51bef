"""Peak memory of one program in a process of its own: `python -m tests.bench.memory dm-1 composed`.

Prints MB, and how many of them came with the updates.
"""

import sys
from pathlib import Path

import torch

from tests.bench.scenes import ALL_CLASS, SCENES, composed, straight

UPDATES = 6


def peak_mb() -> float:
    """Of this program alone: ru_maxrss would begin with the size of the process that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def main(name: str, program: str) -> None:
    torch.set_num_threads(1)
    scene = (SCENES | ALL_CLASS)[name]
    if program == "composed":
        update = composed(scene, UPDATES).advance
    else:
        update = straight(scene).__next__
        torch.optim.SGD([torch.zeros(1)], lr=1.0)  # what the first of them imports is none of an update's
    before = peak_mb()
    for _ in range(2 if name in ALL_CLASS else UPDATES):
        update()
    print(peak_mb(), peak_mb() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
