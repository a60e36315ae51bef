"""Trajectories of the network that compositions (compositions.py) give their students."""

import pytest
import torch

from ddpipe import artifacts, networks
from ddpipe.buffer import Buffer
from ddpipe.randomness import generator
from tests.contracts.compositions import ARCHITECTURE, BUFFERS, EXPERTS, SIDE, SIZES, SNAPSHOTS


@pytest.fixture(scope="session", autouse=True)
def buffer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    network = networks.build(ARCHITECTURE, 2, SIDE, len(SIZES))
    for number in range(EXPERTS):
        draw = generator("expert", number)
        start = torch.cat([p.detach().flatten() for p in networks.initialise_(network, draw).parameters()])
        steps = 0.02 * torch.randn(SNAPSHOTS, len(start), generator=draw)
        artifacts.write_tensors(folder / f"{number}.safetensors", {"snapshots": start + steps.cumsum(0)})
    artifacts.write_json(folder / "experts.json", {"buffer": "small", "networks": EXPERTS})
    BUFFERS["small"] = Buffer(folder)
