"""Every epoch of MTT's official expert training: the weights after it, in both precisions."""

import pytest
import torch
import torch.nn.functional as F
from parts import network_of
from test_mtt_match import split

from ddpipe import networks, settings
from ddpipe.experts import training
from ddpipe.randomness import Streams
from ddpipe.synthetic import Batch


@pytest.mark.parametrize("bits", ["f64", "f32"])
def test_snapshots(case, monkeypatch, bits):
    golden = case("mtt_expert")
    config, dtype = golden.config, {"f64": torch.float64, "f32": torch.float32}[bits]
    images, n = golden["images"].to(dtype), len(golden["labels"])
    targets = F.one_hot(golden["labels"], config["num_classes"]).to(dtype)
    numbers = settings.Experts(
        data="golden",
        network="golden",
        networks=1,
        epochs=config["epochs"],
        lr=config["lr"],
        momentum=config["momentum"],
        weight_decay=config["weight_decay"],
        batch=config["batch_size"],
        drop="never",
        augment=config["augmentation"],
        keep="all",
    )
    assert not config["drop_last"]
    orders = iter(golden["order"])
    monkeypatch.setattr(torch, "randperm", lambda n, generator: next(orders))
    monkeypatch.setattr(networks, "initialise_", lambda network, rng: network)
    network = network_of(config["network"], split(config, golden["theta0"]), dtype)
    expert = training.Cohort(
        numbers, network, lambda rows: Batch(images[rows], targets[rows]), n, False, [Streams("golden")]
    )
    golden.check(expert.snapshots()[0], golden["theta0"].to(dtype), "theta0", bits.replace("f", "float"))
    snapshots = []
    for _ in range(config["epochs"]):
        expert.advance()
        snapshots.append(expert.snapshots()[0])
    golden.check(torch.stack(snapshots), golden[f"snapshots_{bits}"], "snapshots")
    assert next(orders, None) is None
