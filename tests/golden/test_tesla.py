"""TESLA: the gradient its official code writes, half the published formula's, beside the exact one."""

import pytest
import torch
from test_mtt_match import objective, pieces

from ddpipe.synthetic.pixels import Pixels


@pytest.mark.parametrize("bits", ["f64", "f32"])
def test_hard_labels(case, bits):
    golden = case("tesla")
    dtype = {"f64": torch.float64, "f32": torch.float32}[bits]
    gradient, start, target, synthetic, batches = pieces(golden, dtype)
    halved = golden.config["image_gradient_factor"] / golden.config["formula_factor_over_official"]
    made = objective(golden, "truncated", dtype, halved)
    loss = made.match(gradient, start, target, batches)
    by_images, by_lr = loss.gradients([synthetic.images, made.lr])
    golden.check(loss.value.double(), golden["loss_f64"], "loss", bits.replace("f", "float"))
    golden.check(by_images, golden[f"grad_images_official_{bits}"], "grad_images")
    golden.check(by_lr, golden[f"grad_lr_{bits}"], "grad_lr")


def test_soft_labels_come_from_the_target_of_the_segment(case):
    golden = case("tesla")
    gradient, start, target, synthetic, _ = pieces(golden, torch.float64)
    soft = gradient.logits(target, synthetic.decode().images).softmax(1).detach()
    golden.check(soft, golden["soft_labels_f64"], "soft_labels")
    gradient, start, target, synthetic, batches = pieces(golden, torch.float64, soft)
    halved = golden.config["image_gradient_factor"] / golden.config["formula_factor_over_official"]
    made = objective(golden, "truncated", torch.float64, halved)
    loss = made.match(gradient, start, target, batches)
    by_images, by_lr = loss.gradients([synthetic.images, made.lr])
    golden.check(loss.value, golden["soft_loss_f64"], "soft_loss")
    golden.check(by_images, golden["soft_grad_images_official_f64"], "soft_grad_images")
    golden.check(by_lr, golden["soft_grad_lr_f64"], "soft_grad_lr")


def test_the_exact_gradient_on_the_same_inputs(case):
    golden = case("tesla")
    gradient, start, target, synthetic, batches = pieces(golden, torch.float64)
    assert isinstance(synthetic, Pixels)
    made = objective(golden, "exact", torch.float64)
    by_images, by_lr = made.match(gradient, start, target, batches).gradients([synthetic.images, made.lr])
    golden.check(by_images, golden["grad_images_exact_mtt_f64"], "grad_images_exact")
    golden.check(by_lr, golden["grad_lr_exact_mtt_f64"], "grad_lr_exact")
