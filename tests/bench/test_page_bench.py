"""The page over a grid in which every evaluation has a result: processor seconds, memory, size of the file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import filled_grid

ROOT = Path(__file__).parents[2]
SECONDS, MEMORY = 20.0, 1024.0  # of a processor, MB
PROGRAM = """
import runpy, time
try:
    runpy.run_module("stages.page", run_name="__main__")
finally:
    lines = open("/proc/self/status").read().splitlines()
    print(time.process_time(), next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")))
"""

pytestmark = [pytest.mark.bench]


def test_the_page_of_a_filled_grid(tmp_path: Path, table) -> None:
    results = filled_grid.fill(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seconds, memory = map(float, done.stdout.splitlines()[-1].split())
    size = (tmp_path / "reports/index.html").stat().st_size / 2**20
    table.append((f"page of {results} results (plain: the limit)", seconds, SECONDS, "s", seconds / SECONDS))
    table.append((f"page of {results} results (plain: the limit)", memory, MEMORY, "MB", memory / MEMORY))
    table.append(("its size", size, 0.0, "MB", 0.0))
    assert seconds < SECONDS and memory < MEMORY
