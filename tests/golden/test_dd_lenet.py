"""LeNet in Dataset Distillation's unrolled training: forward pass, order of the parameters and both derivatives."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from ddpipe import networks
from ddpipe.settings import LeNet


@pytest.mark.variants_of("dd_lenet")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loss_and_gradients_after_unrolled_steps(case, variant, dtype):
    golden = case("dd_lenet")
    spec = golden.config["variants"][variant]
    shape, prefix = spec["network"], spec["prefix"]
    network = networks.build(
        LeNet(kind=shape["kind"]), shape["channels"], shape["image_size"][0], shape["num_classes"], device="meta"
    )
    assert network.classifier.in_features == shape["hidden"][-1]
    parts = dict(network.named_parameters())
    assert sum(p.numel() for p in parts.values()) == shape["num_params"]
    flat = golden[f"{prefix}/{spec['weights_key']}"].to(getattr(torch, dtype)) * spec["weights_scale"]
    pieces = flat.split([p.numel() for p in parts.values()])
    weights = {
        name: piece.view(part.shape).requires_grad_() for (name, part), piece in zip(parts.items(), pieces, strict=True)
    }
    data = golden[f"{prefix}/in/distill_data"].to(flat).requires_grad_()
    raw_lrs = golden[f"{prefix}/in/raw_lrs"].to(flat).requires_grad_()
    lrs = F.softplus(raw_lrs)
    labels = torch.arange(spec["num_classes"]).repeat_interleave(spec["ipc_per_step"])
    for step in range(spec["num_steps"]):
        loss = F.cross_entropy(functional_call(network, weights, data[step % spec["distill_steps"]]), labels)
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        weights = {name: w - lrs[step] * g for (name, w), g in zip(weights.items(), slopes, strict=True)}
    real = golden[f"{prefix}/in/real_x"].to(flat)
    loss = F.cross_entropy(functional_call(network, weights, real), golden[f"{prefix}/in/real_y"])
    found = dict(
        zip(
            ("grad_data", "grad_raw_lrs", "grad_lr_per_step"),
            torch.autograd.grad(loss, [data, raw_lrs, lrs]),
            strict=True,
        )
    )
    folder = f"{prefix}/{dtype.replace('float', 'f')}"
    for name, value in {"lrs": lrs, "final_loss": loss, **found}.items():
        golden.check(value.detach(), golden[f"{folder}/{name}"], name)
