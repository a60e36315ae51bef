"""LeNet in Dataset Distillation's unrolled training: forward pass, order of the parameters and both derivatives."""

import pytest
import torch
import torch.nn.functional as F

from ddpipe import networks
from ddpipe.settings import LeNet
from ddpipe.synthetic import Batch
from ddpipe.training.sweep import Gradient, sweep, walk


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
    start = golden[f"{prefix}/{spec['weights_key']}"].to(getattr(torch, dtype)) * spec["weights_scale"]
    network.to_empty(device="cpu")
    data = golden[f"{prefix}/in/distill_data"].to(start).requires_grad_()
    raw_lrs = golden[f"{prefix}/in/raw_lrs"].to(start).requires_grad_()
    lrs = F.softplus(raw_lrs)
    targets = torch.eye(spec["num_classes"]).to(start).repeat_interleave(spec["ipc_per_step"], 0)
    batches = [Batch(data[step % spec["distill_steps"]], targets) for step in range(spec["num_steps"])]
    gradient = Gradient(network)
    taken = walk(gradient, start, batches, lrs)
    end = taken.thetas[-1].requires_grad_()
    loss = F.cross_entropy(gradient.logits(end, golden[f"{prefix}/in/real_x"].to(start)), golden[f"{prefix}/in/real_y"])
    slopes = sweep(taken, {len(batches): torch.autograd.grad(loss, end)[0]})
    outputs = [batch.images for batch in batches]
    found = {
        "grad_data": torch.autograd.grad(outputs, data, slopes["images"], retain_graph=True)[0],
        "grad_raw_lrs": torch.autograd.grad(lrs, raw_lrs, slopes["lr"])[0],
        "grad_lr_per_step": slopes["lr"][0],
    }
    folder = f"{prefix}/{dtype.replace('float', 'f')}"
    for name, value in {"lrs": lrs, "final_loss": loss, **found}.items():
        golden.check(value.detach(), golden[f"{folder}/{name}"], name)
