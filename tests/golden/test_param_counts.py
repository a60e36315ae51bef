"""Numbers of trainable parameters of the evaluation networks, counted on the official definitions."""

import json

import pytest
import torch

from ddpipe import networks
from ddpipe.settings import ConvNet, DenseNet, Network, ResNet


def settings_of(spec: dict, norm: str, resolution: int) -> Network:
    if spec["kind"] == "convnet":
        padding = spec["first_conv_padding_28x28"] if resolution == 28 else None
        return ConvNet(kind="convnet", depth=spec["depth"], width=spec["width"], norm=norm, first_padding=padding)
    if spec["kind"] == "resnet":
        return ResNet(
            kind="resnet",
            block=spec["block"],
            blocks=spec["blocks"],
            widths=spec["stage_widths"],
            norm=norm,
            downsampling={"stride": "stride", "avgpool2x2": "avgpool"}[spec["downsampling"]],
        )
    return DenseNet(kind="densenet", blocks=spec["blocks"], growth=spec["growth"], norm=norm)


@pytest.mark.variants_of("param_counts", "param_counts_config")
def test_counts(case, variant):
    golden = case("param_counts", "param_counts_config")
    shape = golden.config["variants"][variant]
    counts = json.loads((golden.folder / golden.config["data_file"]).read_text())[variant]
    resolution = shape["image_size"][0]
    for name in shape["networks"]:
        spec = golden.config["networks"][name]
        for norm in spec["norms"]:
            settings = settings_of(spec, norm, resolution)
            network = networks.build(settings, shape["channels"], resolution, shape["num_classes"], device="meta")
            count = sum(p.numel() for p in network.parameters())
            golden.check(torch.tensor(count), torch.tensor(counts[name]), f"{name} with {norm} norm")
            assert network.classifier.in_features == spec.get("head_features", network.classifier.in_features)
