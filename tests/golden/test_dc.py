"""Gradient matching against the official program: gradients, the three distances, and their gradient by the images."""

import pytest
import torch
from parts import WholeClass, network_of

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.objectives.distances import gradient_distance, rowwise_cosine
from ddpipe.objectives.gradient import GradientMatching, network_gradient
from ddpipe.randomness import Streams
from ddpipe.students import Student
from ddpipe.synthetic.pixels import Pixels

SUFFIX = {"float32": "", "float64": "64"}

every_dtype = pytest.mark.parametrize("dtype", SUFFIX)
every_metric = pytest.mark.parametrize("metric", ["ours", "mse", "cos"])


def network(golden, dtype):
    return network_of(golden.config["network"], golden.parameters(), getattr(torch, dtype))


def synthetic(golden, dtype):
    config = golden.config
    start = golden["syn" if golden.name == "dc" else "syn_init"]
    classes = torch.arange(config["num_classes"]).repeat_interleave(config["ipc"])
    return Pixels(start.to(getattr(torch, dtype)), classes, config["num_classes"])


def gradients(golden, dtype, label):
    """The network's gradients for class `label`: by its real images, by its synthetic ones."""
    judge, learned = network(golden, dtype), synthetic(golden, dtype)
    parameters = list(judge.parameters())
    real = golden["real"][label].to(getattr(torch, dtype))
    images, targets = learned.decode((learned.classes == label).nonzero().flatten())
    by_real = network_gradient(judge, parameters, real, torch.full((len(real),), label))
    return by_real, network_gradient(judge, parameters, images.detach(), targets)


@every_dtype
def test_gradients_of_the_network(case, dtype):
    golden = case("dc")
    config = golden.config
    label = config["stored_gradient_class"]
    for side, found in zip(("real", "syn"), gradients(golden, dtype, label), strict=True):
        for number in set(config["stored_gradient_params"]) - set(config["zero_gradient_params"]):
            expected = golden[f"c{label}_g_{side}_p{number:02d}{SUFFIX[dtype]}"]
            golden.check(found[number], expected, "gradient", dtype)


@every_dtype
def test_distances_of_classes(case, dtype):
    golden = case("dc")
    found = [gradients(golden, dtype, label) for label in range(golden.config["num_classes"])]
    for metric in golden.config["metrics"]:
        distances = torch.stack([gradient_distance(mine, theirs, metric) for theirs, mine in found])
        golden.check(distances, golden[f"loss_per_class_{metric}{SUFFIX[dtype]}"], "loss_per_class", dtype)
    layers = [
        [rowwise_cosine(a[None], b[None])[0] for a, b in zip(mine, theirs, strict=True)] for theirs, mine in found
    ]
    layers = torch.stack([torch.stack(row) for row in layers])  # K, number of parameter tensors
    golden.check(layers, golden[f"per_layer_ours{SUFFIX[dtype]}"], "per_layer", dtype)


@every_dtype
@every_metric
def test_loss_and_gradient_of_the_images(case, dtype, metric):
    golden = case("dc")
    config = golden.config
    if metric not in config["metrics"]:
        pytest.skip(f"the case has no metric {metric}")
    learned, student = synthetic(golden, dtype), Student(network(golden, dtype))
    objective = GradientMatching(
        settings.objectives.gradient.GradientMatching(name="gradient", metric=metric),
        real_batch=config["real_per_class"],
    )
    real = WholeClass(golden["real"].to(getattr(torch, dtype)))
    (loss,) = objective.losses(learned, student, real, Augment(config["augmentation"]), Streams("dc"))
    (gradient,) = loss.gradients([learned.images])
    golden.check(loss.value, golden[f"loss_{metric}{SUFFIX[dtype]}"], "loss", dtype)
    golden.check(gradient, golden[f"grad_syn_{metric}{SUFFIX[dtype]}"], "grad_syn", dtype)
