"""Distribution matching against the official program: distances, gradients and two updates of the images."""

import pytest
import torch
from parts import WholeClass, gradients_of, network_of

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.distillation.loop import Distillation
from ddpipe.distillation.outer import Outer
from ddpipe.objectives.distribution import DistributionMatching, class_means, mean_distance
from ddpipe.randomness import Streams
from ddpipe.students import Student
from ddpipe.synthetic import Pixels

SUFFIX = {"float32": "f32", "float64": "f64"}

every_dtype = pytest.mark.parametrize("dtype", SUFFIX)


class Given:
    """Students whose networks are given, one an iteration."""

    gives = frozenset({"network"})

    def __init__(self, networks):
        self.networks = iter(networks)

    def next(self, synthetic, rng):
        return Student(next(self.networks))


def network(golden, variant, dtype):
    config, chosen = golden.config, golden.config["variants"][variant]
    names = [key for pair in zip(config["conv_keys"], config["norm_keys"], strict=True) for key in pair]
    names.append(config["classifier_key"])
    weights = [golden[f"{chosen['prefix']}{name}.{kind}"] for name in names for kind in ("weight", "bias")]
    return network_of(chosen["network"], weights, dtype)


def distillation(golden, networks, dtype, lr, momentum, iterations, chunk=2560):
    """A real Distillation of the case's images; the classes of `chunk` images are embedded together."""
    config = golden.config
    images = golden["img_syn"].to(dtype)
    classes = torch.arange(config["num_classes"]).repeat_interleave(config["ipc"])
    synthetic = Pixels(images, classes, config["num_classes"])
    objective = settings.DistributionMatching(name="distribution", chunk=chunk)
    return Distillation(
        synthetic,
        DistributionMatching(objective, config["real_per_class"]),
        Given(networks),
        WholeClass(golden["img_real"].to(dtype)),
        Augment(config["augmentation"]),
        Outer(synthetic.groups(), {"images": settings.Sgd(lr=lr, momentum=momentum)}),
        Streams("dm"),
        torch.zeros(iterations, dtype=dtype),
    )


@pytest.mark.variants_of("dm")
@every_dtype
def test_distances_of_classes_and_embeddings(case, variant, dtype):
    golden = case("dm")
    config, chosen = golden.config, golden.config["variants"][variant]
    prefix, kind = chosen["prefix"], getattr(torch, dtype)
    embed = network(golden, variant, kind).embed
    real, learned = golden["img_real"].to(kind), golden["img_syn"].to(kind)
    with torch.no_grad():
        if chosen["batching"] == "per_class":
            theirs = torch.cat([embed(images) for images in real])
            mine = torch.cat([embed(images) for images in learned.split(config["ipc"])])
        else:
            theirs, mine = embed(real.flatten(0, 1)), embed(learned)
    wanted = class_means(theirs, [real.shape[1]] * len(real))
    given = class_means(mine, [config["ipc"]] * len(real))
    distances = mean_distance(given, wanted)
    golden.check(distances, golden[f"{prefix}loss_per_class.{SUFFIX[dtype]}"], "loss_per_class", dtype)
    if chosen["embed_stored"] and f"{prefix}embed_syn.{SUFFIX[dtype]}" in golden:
        golden.check(mine, golden[f"{prefix}embed_syn.{SUFFIX[dtype]}"], "embed_syn", dtype)


@pytest.mark.variants_of("dm")
@every_dtype
@pytest.mark.parametrize("together", ["one class", "two classes", "all classes"])
def test_loss_and_gradient_of_the_images(case, monkeypatch, variant, dtype, together):
    golden = case("dm")
    prefix, config = golden.config["variants"][variant]["prefix"], golden.config
    chunk = {"one class": 1, "two classes": 2, "all classes": config["num_classes"]}[together]
    networks = [network(golden, variant, getattr(torch, dtype))]
    run = distillation(golden, networks, getattr(torch, dtype), 1.0, 0.0, 1, chunk * config["real_per_class"])
    gradients = gradients_of(monkeypatch, run)
    run.advance()
    golden.check(run.history[0], golden[f"{prefix}loss.{SUFFIX[dtype]}"], "loss", dtype)
    golden.check(gradients[0], golden[f"{prefix}grad_syn.{SUFFIX[dtype]}"], "grad_syn", dtype)


def test_updates_with_momentum(case):
    golden = case("dm")
    steps = golden.config["two_steps"]
    assert steps["dampening"] == steps["weight_decay"] == 0, "the outer optimiser has neither"
    dtype = getattr(torch, steps["dtype"])
    networks = [network(golden, variant, dtype) for variant in steps["networks"]]
    run = distillation(golden, networks, dtype, steps["lr_img"], steps["momentum"], len(networks))
    for _ in networks:
        run.advance()
    expected = golden[f"two_steps.img_syn.{SUFFIX[steps['dtype']]}"]
    golden.check(run.synthetic.images.detach(), expected, "img_syn", steps["dtype"])
