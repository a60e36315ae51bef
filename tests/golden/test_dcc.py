"""DCC's distance of class means, and its loop across the end of the warm-up, as the official program does."""

import pytest
import torch
from parts import WholeClass, network_of
from test_dc import every_dtype, synthetic
from traces import follow, no_draws

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.objectives.gradient import GradientMatching
from ddpipe.randomness import Streams
from ddpipe.students import Student

SUFFIX = {"float32": "", "float64": "64"}


@every_dtype
@pytest.mark.parametrize("chunk", [512, 1])  # in one graph; class by class
def test_loss_and_gradient_of_the_images(case, dtype, chunk):
    golden = case("dcc")
    config, kind = golden.config, getattr(torch, dtype)
    start = synthetic(golden, dtype)
    record = settings.objectives.gradient.GradientMatching(
        name="gradient", metric=config["metric"], scope="joint", chunk=chunk
    )
    objective = GradientMatching(record, config["real_per_class"])
    judge = Student(network_of(config["network"], golden.parameters(), kind))
    real = WholeClass(golden["real"].to(kind))
    (loss,) = objective.losses(start, judge, real, Augment(config["augmentation"]), Streams("dcc"))
    (gradient,) = loss.gradients([start.images])
    golden.check(loss.value, golden[f"contrast_loss{SUFFIX[dtype]}"], "contrast_loss", dtype)
    golden.check(gradient, golden[f"contrast_grad_syn{SUFFIX[dtype]}"], "contrast_grad_syn", dtype)


@pytest.mark.parametrize("chunk", [512, 1])
def test_every_step_of_the_official_program(case, monkeypatch, chunk):
    golden = case("dcc")
    config = golden.config
    assert config["outer_index"] == 0
    warmup = {"networks": config["outer_warmup"], "updates": config["inner_warmup"]}
    objective = {"metric": config["metric"], "scope": "joint", "warmup": warmup, "chunk": chunk}
    draws = no_draws(config["num_syn_updates"] * config["num_classes"], 1)
    training = no_draws(config["num_net_steps"], config["num_classes"] * config["ipc"])
    follow(golden, monkeypatch, config["augmentation"], draws, config["augmentation"], training, objective)
