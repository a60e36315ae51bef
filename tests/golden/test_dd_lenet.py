"""LeNet in Dataset Distillation: the order of its parameters, and an unrolled iteration as the pipeline takes it."""

import pytest
import torch
from unrolls import Unrolled, check

from ddpipe import networks
from ddpipe.settings import LeNet


@pytest.mark.variants_of("dd_lenet")
@pytest.mark.parametrize("bits", ["f64", "f32"])
def test_an_iteration(case, variant, bits):
    golden = case("dd_lenet")
    spec = golden.config["variants"][variant]
    shape, dtype = spec["network"], {"f64": torch.float64, "f32": torch.float32}[bits]
    network = networks.build(
        LeNet(kind=shape["kind"]), shape["channels"], shape["image_size"][0], shape["num_classes"]
    ).to(dtype)
    assert network.classifier.in_features == shape["hidden"][-1]
    start = golden[f"{spec['prefix']}/{spec['weights_key']}"].to(dtype) * spec["weights_scale"]
    assert len(start) == shape["num_params"]
    torch.nn.utils.vector_to_parameters(start, network.parameters())
    check(golden, spec, Unrolled(golden, spec, network, dtype), bits)
