"""FTD's expert update (GSAM) and its moving average, against the official optimiser."""

import pytest
import torch
from parts import network_of
from test_mtt_match import split

from ddpipe.distillation.average import Average
from ddpipe.synthetic import Batch
from ddpipe.training.flatness import flat_gradient, flattened, perturbation
from ddpipe.training.unroll import Gradient


@pytest.mark.variants_of("ftd_gsam")
def test_update(case, variant):
    golden = case("ftd_gsam")
    config, rules = golden.config, golden.config["variants"][variant]
    theta = golden["theta"].double()
    network = network_of(config["network"], split(config, theta), torch.float64)
    gradient = Gradient(network)
    weights = theta.clone().requires_grad_()
    targets = torch.nn.functional.one_hot(golden["labels"], config["num_classes"]).double()
    batch = Batch(golden["images"].double(), targets)
    rho, lr = float(golden["rho"]), float(golden["lr"])
    g1 = gradient(weights, batch)
    golden.check(g1, golden[f"{variant}_g1"], "g1")
    moved = weights.detach() + perturbation([weights.detach()], [g1], rho, rules["adaptive"])[0]
    golden.check(moved, golden[f"{variant}_theta_perturbed"], "theta_perturbed")
    g2 = gradient(moved.requires_grad_(), batch)
    golden.check(g2, golden[f"{variant}_g2"], "g2")
    golden.check(flattened([g1], [g2], rules["alpha"])[0], golden[f"{variant}_update"], "update")
    (update,) = flat_gradient([weights], lambda: [gradient(weights, batch)], rho, **rules)
    golden.check(theta - lr * update, golden[f"{variant}_theta_new"], "theta_new")
    assert torch.equal(weights, theta), "the weights must come back as they were"


def test_moving_average(case):
    golden = case("ftd_gsam")
    start, *later = golden["ema_images"]
    images = start.clone()
    average = Average([images], float(golden["ema_decay"]))
    for image in later:
        images.copy_(image)
        average.update()
    average.replace_()
    golden.check(images, golden["ema_result"], "ema_result")
