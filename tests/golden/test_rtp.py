"""RTP's meta-gradient, through every step of SGD with momentum on addressed images, by the reverse sweep."""

import pytest
import torch
import torch.nn.functional as F
from parts import network_of
from test_mtt_match import split

from ddpipe.synthetic import Batch
from ddpipe.training.sweep import Gradient, backwards, sweep, walk


@pytest.mark.variants_of("rtp")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_meta_gradient(case, variant, dtype):
    golden = case("rtp")
    spec = golden.config["variants"][variant]
    given, expected = f"{spec['prefix']}/in/", f"{spec['prefix']}/{str(dtype).replace('torch.float', 'f')}/"
    start = golden[f"{given}theta0"].to(dtype)
    gradient = Gradient(network_of(spec["network"], split(spec, start), dtype))
    names = {"bases": ["basis", "coeff"], "images": ["imgs"]}[spec["kind"]]
    learned = [golden[given + name].to(dtype).requires_grad_() for name in names]
    images = learned[0]
    if spec["kind"] == "bases":
        basis, coefficients = learned
        images = F.interpolate(
            torch.einsum("vk,kchw->vchw", coefficients, basis), scale_factor=spec["downsample"], mode="bilinear"
        )
        golden.check(images.detach(), golden[f"{spec['prefix']}/f32/all_images"], "all_images")
    targets = torch.eye(spec["num_classes"], dtype=dtype).repeat_interleave(spec["images_per_class"], 0)
    rows = golden[f"{given}indices"]
    batches = [Batch(images[index], targets[index]) for index in rows]
    lr, momentum = (torch.tensor(spec[name], dtype=dtype) for name in ("lr", "momentum"))
    taken = walk(gradient, start, batches, lr, momentum)
    golden.check(taken.thetas[-1], golden[f"{expected}final_weights"], "final_weights")
    end = taken.thetas[-1].clone().requires_grad_()
    loss = F.cross_entropy(gradient.logits(end, golden[f"{given}real_x"].to(dtype)), golden[f"{given}real_y"])
    golden.check(loss.detach(), golden[f"{expected}meta_loss"], "meta_loss")
    pulls = {len(batches): torch.autograd.grad(loss, end)[0]}
    by_step = sweep(taken, pulls)["images"]
    outputs = [batch.images for batch in batches]
    found = torch.autograd.grad(outputs, learned, by_step, retain_graph=True)
    for name, by in zip(names, found, strict=True):
        golden.check(by, golden[f"{expected}grad_{name}"], f"grad_{name}")
    total = torch.zeros_like(images)
    for index, slopes in zip(reversed(rows), backwards(taken, pulls), strict=True):
        total.index_add_(0, index, slopes["images"])
    for name, by in zip(names, torch.autograd.grad(images, learned, total), strict=True):
        golden.check(by, golden[f"{expected}grad_{name}"], f"grad_{name}")
