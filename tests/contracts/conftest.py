"""Trajectories of the network that compositions (compositions.py) give their students."""

import pytest

from ddpipe import networks
from ddpipe.experts.buffer import Buffer
from tests.contracts.compositions import ARCHITECTURE, BUFFERS, EXPERTS, SIDE, SIZES, SNAPSHOTS, written


@pytest.fixture(scope="session", autouse=True)
def buffer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    written(folder, networks.build(ARCHITECTURE, 2, SIDE, len(SIZES)), EXPERTS, SNAPSHOTS)
    BUFFERS["small"] = Buffer(folder)
