"""Trajectory matching: the loss of MTT's official loop and its gradients by images and step size, both ways."""

import pytest
import torch
from parts import network_of
from torch import Tensor

from ddpipe import settings
from ddpipe.objectives.trajectory import TrajectoryMatching, distance
from ddpipe.synthetic import Batch, Pixels
from ddpipe.training.unroll import Gradient, walk


def pieces(golden, dtype: torch.dtype, targets: Tensor | None = None):
    """The gradient function, start, target, synthetic set and batches of a case, in `dtype`."""
    config = golden.config
    start, target = golden["theta_start"].to(dtype), golden["theta_target"].to(dtype)
    network = network_of(config["network"], split(config, start), dtype)
    synthetic = Pixels(golden["images"].to(dtype), golden["labels"], config["num_classes"])
    if targets is not None:
        synthetic.assign_targets_(targets)
    rows = [row[row != config["batch_pad_value"]] for row in golden["batches"]]
    return Gradient(network), start, target, synthetic, [Batch(*synthetic.decode(row)) for row in rows]


def split(config: dict, flat: Tensor) -> list[Tensor]:
    """The flat parameter vector of a case as a list, in the network's order."""
    spec, tensors, at = config["network"], [], 0
    inputs, width = spec["channels"], spec["width"]
    shapes: list[tuple[int, ...]] = []
    for _ in range(spec["depth"]):
        shapes += [(width, inputs, spec["kernel_size"], spec["kernel_size"]), (width,), (width,), (width,)]
        inputs = width
    for shape in [*shapes, (spec["num_classes"], spec["feature_dim"]), (spec["num_classes"],)]:
        count = torch.Size(shape).numel()
        tensors.append(flat[at : at + count].view(shape))
        at += count
    assert at == len(flat)
    return tensors


def objective(golden, how: str, dtype: torch.dtype, factor: float = 1.0) -> TrajectoryMatching:
    steps = len(golden["batches"])
    config = settings.TrajectoryMatching(name="trajectory", steps=steps, gradient=how, factor=factor)
    made = TrajectoryMatching(config, 1)
    made.lr = golden["lr"].to(dtype).requires_grad_()
    return made


@pytest.mark.parametrize("bits", ["f64", "f32"])
@pytest.mark.parametrize("how", ["exact", "full"])
@pytest.mark.parametrize("name", ["mtt_match", "mtt_match_gray28"])
def test_loss_and_gradients(case, name, how, bits):
    golden = case(name)
    dtype = {"f64": torch.float64, "f32": torch.float32}[bits]
    gradient, start, target, synthetic, batches = pieces(golden, dtype)
    made = objective(golden, how, dtype)
    loss = made.match(gradient, start, target, batches)
    by_images, by_lr = loss.gradients([synthetic.images, made.lr])
    golden.check(loss.value, golden[f"loss_{bits}"], "loss")
    golden.check(by_images, golden[f"grad_images_{bits}"], "grad_images")
    golden.check(by_lr, golden[f"grad_lr_{bits}"], "grad_lr")


@pytest.mark.parametrize("name", ["mtt_match", "mtt_match_gray28"])
def test_every_step_of_the_student(case, name):
    golden = case(name)
    gradient, start, target, _, batches = pieces(golden, torch.float64)
    alone = [Batch(images.detach(), targets) for images, targets in batches]
    thetas = walk(gradient, start, alone, golden["lr"])
    golden.check(torch.stack(thetas[1:]), golden["student_params_f64"], "student_params")
    golden.check(distance(thetas[-1], start, target), golden["loss_f64"], "loss")
    golden.check((start - target).square().sum(), golden["sqdist_f64"], "sqdist")
    golden.check((thetas[-1] - target).square().sum(), golden["sqerr_f64"], "sqerr")
