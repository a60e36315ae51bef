"""SLDD: DD with learned targets, free or through a softmax, also for fewer images than classes."""

import pytest
import torch
from parts import network_of
from test_mtt_match import split
from unrolls import Unrolled, check


@pytest.mark.variants_of("sldd")
@pytest.mark.parametrize("bits", ["f64", "f32"])
@pytest.mark.parametrize("gradient", ["exact", "full"])
def test_an_iteration(case, variant, bits, gradient):
    golden = case("sldd")
    spec = golden.config["variants"][variant]
    dtype = {"f64": torch.float64, "f32": torch.float32}[bits]
    start = golden[f"{spec['prefix']}/{spec['weights_key']}"].to(dtype) * spec["weights_scale"]
    unrolled = Unrolled(golden, spec, network_of(spec["network"], split(spec, start), dtype), dtype, gradient)
    fewer = len(unrolled.synthetic) < spec["distill_steps"] * spec["num_classes"]
    assert fewer == (spec["ipc_per_step"] is None)
    check(golden, spec, unrolled, bits)
