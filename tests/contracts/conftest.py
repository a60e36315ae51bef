"""Trajectories of the network that compositions (compositions.py) give their students."""

import pytest
import torch

from ddpipe import networks
from ddpipe.experts.buffer import Buffer, Snapshots, Stored, write_about
from ddpipe.randomness import generator
from tests.contracts.compositions import ARCHITECTURE, BUFFERS, EXPERTS, SIDE, SIZES, SNAPSHOTS


@pytest.fixture(scope="session", autouse=True)
def buffer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    digests: list[list[str]] = []
    network = networks.build(ARCHITECTURE, 2, SIDE, len(SIZES))
    for number in range(EXPERTS):
        draw = generator("expert", number)
        start = torch.cat([p.detach().flatten() for p in networks.initialise_(network, draw).parameters()])
        steps = 0.02 * torch.randn(SNAPSHOTS, len(start), generator=draw)
        with Snapshots(folder / f"{number}.safetensors", (SNAPSHOTS, len(start)), "float32") as file:
            for row in start + steps.cumsum(0):
                file.append(row)
        digests.append(file.digests)
    stored = Stored(shape=(SNAPSHOTS, len(start)), dtype="float32", digests=digests)
    write_about(folder, {"buffer": "small", "data_checksum": "", "recipe": {}}, stored)
    BUFFERS["small"] = Buffer(folder)
