"""Analytical kernels: milliseconds a pair of images and peak memory, beside figures measured before they were built.

These are of a straight program with torch.compile and tuned allocation (`plain`), in float32 on one core of another
machine, so ratios are between machines, and only the size at which the published sets were made is held to one.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.kernel_pairs import CHUNK

ROOT = Path(__file__).parents[2]
KNOWN = {  # network, side, channels -> forward, and forward with backward
    ("vec3", 8, 3): (0.002, 0.005),
    ("vec3", 16, 3): (0.006, 0.014),
    ("vec3", 28, 1): (0.019, 0.045),
    ("vec3", 32, 3): (0.028, 0.067),
    ("convnet3", 8, 3): (0.22, 0.62),
    ("convnet3", 16, 3): (1.3, 3.5),
    ("convnet3", 28, 1): (3.4, 8.7),
    ("convnet3", 32, 3): (4.8, 12.0),
    ("convnet", 8, 3): (0.45, 1.1),
    ("convnet", 16, 3): (2.6, 6.1),
    ("convnet", 28, 1): (6.8, 16.0),
    ("convnet", 32, 3): (9.6, 23.0),
}
MOST = 80  # numbers that are alive at once, at the most, over those of a chunk: small images count too

pytestmark = [pytest.mark.bench]


@pytest.mark.parametrize(("name", "side", "channels"), KNOWN)
def test_a_pair_of_images(table, name, side, channels):
    line = [sys.executable, "-m", "tests.bench.kernel_pairs", name, str(side), str(channels)]
    done = subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True)
    *times, peak = map(float, done.stdout.split())
    for what, mine, plain in zip(("forward", "and backward"), times, KNOWN[name, side, channels], strict=True):
        table.append((f"{name} {side}x{side}x{channels}, {what}", 1000 * mine, 1000 * plain, "us", mine / plain))
    table.append(
        (f"{name} {side}x{side}x{channels}, peak / chunk of {CHUNK}", peak, 4e-6 * CHUNK, "MB", peak / (4e-6 * CHUNK))
    )
    assert peak <= 4e-6 * CHUNK * MOST
    if (name, side) == ("convnet", 32):
        assert times[0] <= 10 and times[1] <= 23, "as fast as the figures, to their rounding"
