"""Settings and fixtures of all tests: one thread, so that bits repeat, Ctrl-C as in a terminal, the golden cases."""

import signal
from pathlib import Path

import pytest
import torch

# A shell's command in the background ignores Ctrl-C, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-dir",
        type=Path,
        default=Path(__file__).parent / "golden",
        help="folder with the golden cases (<case>.npz, <case>.json); another set of cases runs the same tests",
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
