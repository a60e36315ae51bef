"""Time and memory of one kernel in a process of its own: `python -m tests.bench.kernel_pairs convnet 32 3`."""

import sys
import time

import torch

from ddpipe.device import keep_freed_memory
from ddpipe.kernels import Recursion, cross
from ddpipe.randomness import generator
from ddpipe.settings.limit import Limit
from tests.bench.memory import peak_mb

LIMITS = {
    "vec3": Limit("convolution", 3),
    "convnet3": Limit("convolution", 3, (1, 2, 3)),
    "convnet": Limit("convolution", 4, (2, 3, 4)),
}
CHUNK, BLOCKS = 2**19, 3  # the default


def main(name: str, side: int, channels: int) -> None:
    """Milliseconds of a pair, forward and with the way back, and the peak beyond the program's own, in MB.

    The way back makes each block once more with its graph: forward and backward together.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    recursion, draw = Recursion(LIMITS[name]), generator("pairs")
    shown = torch.randn(4, channels, side, side, generator=draw).requires_grad_()
    pairs = max(1, CHUNK // recursion.entries(shown))
    real = torch.randn(max(1, BLOCKS * pairs // 4), channels, side, side, generator=draw)
    cross(recursion, real[:1], shown[:1], CHUNK).sum().backward()  # the library loads what it needs
    before, times = peak_mb(), []
    for _ in range(4):
        began = time.process_time()
        kernel = cross(recursion, real, shown, CHUNK)
        middle = time.process_time()
        torch.autograd.grad(kernel.sum(), shown)
        times.append((middle - began, time.process_time() - middle))
    best = [1000 * min(column) / kernel.numel() for column in zip(*times, strict=True)]
    print(*best, peak_mb() - before)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
