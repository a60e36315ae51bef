"""The device of the guard, for the tests of this folder alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils import backend_registration

from ddpipe import networks
from ddpipe.experts.buffer import Buffer
from tests.contracts.compositions import ARCHITECTURE, BUFFERS, EXPERTS, SIDE, SIZES, SNAPSHOTS, written


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder go by a mark: torch takes no new device once it has differentiated something."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("device")


@pytest.fixture(scope="session")
def registered() -> torch.device:
    from tests.device import guard

    if not hasattr(backend_registration, guard.NEEDED):
        pytest.skip(f"torch {torch.__version__} has no torch.utils.backend_registration.{guard.NEEDED}")
    return guard.set_up()


@pytest.fixture
def device(registered: torch.device) -> Iterator[torch.device]:
    from tests.device import guard

    with guard.at_work() as found:
        yield found


@pytest.fixture(scope="session")
def buffers(registered: torch.device, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of the compositions, here and there."""
    folder = tmp_path_factory.mktemp("experts")
    written(folder, networks.build(ARCHITECTURE, 2, SIDE, len(SIZES)), EXPERTS, SNAPSHOTS)
    BUFFERS["small"], BUFFERS["device"] = Buffer(folder), Buffer(folder, registered)
