"""Forward pass of the ConvNet against the official one."""

import pytest
import torch

from ddpipe import networks
from ddpipe.settings import ConvNet


@pytest.mark.variants_of("convnet")
@pytest.mark.parametrize("padding", ["given", "derived"])
def test_features_and_logits(case, variant, padding):
    golden = case("convnet")
    spec = golden.config["variants"][variant]
    prefix, shape = spec["prefix"], spec["network"]
    channels, resolution = shape["channels"], shape["image_size"][0]
    if padding == "derived" and shape["first_conv_padding"] != (3 if resolution == 28 else 1):
        pytest.skip("this padding has to be given")
    settings = ConvNet(
        kind=shape["kind"],
        depth=shape["depth"],
        width=shape["width"],
        norm=shape["norm"],
        first_padding=shape["first_conv_padding"] if padding == "given" else None,
    )
    network = networks.build(settings, channels, resolution, shape["num_classes"])
    weights = golden.parameters(prefix)
    assert [p.shape for p in network.parameters()] == [w.shape for w in weights]
    assert sum(p.numel() for p in network.parameters()) == shape["num_params"]
    assert network.classifier.in_features == shape["feature_dim"]
    images = golden[f"{prefix}x"]
    with torch.no_grad():
        for parameter, weight in zip(network.parameters(), weights, strict=True):
            parameter.copy_(weight)
        golden.check(network.embed(images), golden[f"{prefix}embed"], "embed")
        golden.check(network(images), golden[f"{prefix}logits"], "logits")
        golden.check(network.double()(images.double()), golden[f"{prefix}logits64"], "logits")
