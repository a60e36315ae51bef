"""The tests of `tests/device`, in a process that has not differentiated anything yet: then torch takes a new device."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

from tests.device.guard import NEEDED

ROOT = Path(__file__).parents[2]


def test_everything_runs_on_a_stand_in_for_a_device() -> None:
    if not hasattr(backend_registration, NEEDED):
        pytest.skip(f"this torch has no torch.utils.backend_registration.{NEEDED}")
    command = [sys.executable, "-m", "pytest", "-m", "device", "-p", "no:cacheprovider", "-v", "tests/device"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout, done.stdout
