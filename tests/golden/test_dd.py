"""DD's meta-gradient by images and raw step sizes, and the outer step on them, as the pipeline takes it."""

import pytest
import torch
from parts import network_of
from test_mtt_match import split
from unrolls import Unrolled, check

from ddpipe.training.sweep import walk


@pytest.mark.variants_of("dd")
@pytest.mark.parametrize("bits", ["f64", "f32"])
@pytest.mark.parametrize("gradient", ["exact", "full"])
def test_an_iteration(case, variant, bits, gradient):
    golden = case("dd")
    spec = golden.config["variants"][variant]
    dtype = {"f64": torch.float64, "f32": torch.float32}[bits]
    start = golden[f"{spec['prefix']}/{spec['weights_key']}"].to(dtype) * spec["weights_scale"]
    network = network_of(spec["network"], split(spec, start), dtype)
    check(golden, spec, Unrolled(golden, spec, network, dtype, gradient), bits)


@pytest.mark.variants_of("dd")
@pytest.mark.parametrize("bits", ["f64", "f32"])
def test_the_last_weights(case, variant, bits, monkeypatch):
    golden = case("dd")
    spec = golden.config["variants"][variant]
    dtype = {"f64": torch.float64, "f32": torch.float32}[bits]
    start = golden[f"{spec['prefix']}/{spec['weights_key']}"].to(dtype) * spec["weights_scale"]
    unrolled = Unrolled(golden, spec, network_of(spec["network"], split(spec, start), dtype), dtype)
    walks = []
    monkeypatch.setattr("ddpipe.objectives.unroll.walk", lambda *given: walks.append(walk(*given)) or walks[-1])
    unrolled.loss()
    golden.check(walks[0].thetas[-1].detach(), golden[f"{spec['prefix']}/{bits}/final_weights"], "final_weights")
