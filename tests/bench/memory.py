"""Peak memory of one program in a process of its own: `python -m tests.bench.memory dm-1 composed`."""

import sys
from pathlib import Path

import torch

from tests.bench.scenes import SCENES, composed, straight

UPDATES = 6


def peak_mb() -> float:
    """Of this program alone: ru_maxrss would begin with the size of the process that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def main(scene: str, program: str) -> None:
    torch.set_num_threads(1)
    if program == "composed":
        run = composed(SCENES[scene], UPDATES)
        for _ in range(UPDATES):
            run.advance()
    else:
        updates = straight(SCENES[scene])
        for _ in range(UPDATES):
            next(updates)
    print(peak_mb())


if __name__ == "__main__":
    main(*sys.argv[1:])
