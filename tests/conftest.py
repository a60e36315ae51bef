"""Settings and fixtures of all tests: one thread, so that bits repeat, and the folder of golden cases."""

from pathlib import Path

import pytest
import torch


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
