"""Jiang et al.'s distance of classes and of their means, the length in it, and their loop."""

import pytest
import torch
from parts import WholeClass, network_of
from test_dc import every_dtype, gradients, synthetic
from traces import follow, no_draws

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.objectives.distances import (
    class_distances,
    class_mean,
    gradient_distance,
    multi_level_distance,
    rowwise_magnitude,
)
from ddpipe.objectives.gradient import GradientMatching
from ddpipe.randomness import Streams
from ddpipe.students import Student

SUFFIX = {"float32": "", "float64": "64"}
METRIC = "magnitude"  # "improved" in the case
every_chunk = pytest.mark.parametrize("chunk", [512, 1])  # in one graph; class by class


def test_rows_that_differ_in_length(case):
    golden = case("jiang")
    a, b = golden["eq26_A"], golden["eq26_B"].requires_grad_()
    rows = rowwise_magnitude(a[:, None], b[:, None])  # as a class each
    golden.check(rows.detach(), golden["eq26_rows"], "default", "float64")
    (total,) = rowwise_magnitude(a[None], b[None])
    golden.check(total.detach(), golden["eq26"], "default", "float64")
    (by_b,) = torch.autograd.grad(total, b)
    golden.check(by_b, golden["eq26_gradB"], "default", "float64")
    golden.check(
        rowwise_magnitude(golden["eq26_A4"][None], golden["eq26_B4"][None])[0],
        golden["eq26_conv"],
        "default",
        "float64",
    )


@every_dtype
def test_distances(case, dtype):
    golden = case("jiang")
    theirs, mine = zip(*(gradients(golden, dtype, label) for label in range(golden.config["num_classes"])), strict=True)
    mine, theirs = ([[torch.stack(each) for each in zip(*side, strict=True)]] for side in (mine, theirs))
    alone = class_distances(*mine, *theirs, METRIC)
    golden.check(alone, golden[f"intra_improved{SUFFIX[dtype]}"], "intra", dtype)
    joint = gradient_distance(class_mean(mine), class_mean(theirs), METRIC)
    golden.check(joint, golden[f"inter_improved{SUFFIX[dtype]}"], "inter", dtype)
    both = multi_level_distance(mine, theirs, METRIC)
    golden.check(both, golden[f"total_improved{SUFFIX[dtype]}"], "total", dtype)


@every_dtype
@every_chunk
def test_loss_and_gradient_of_the_images(case, dtype, chunk):
    golden = case("jiang")
    config, kind = golden.config, getattr(torch, dtype)
    start = synthetic(golden, dtype)
    record = settings.objectives.gradient.GradientMatching(name="gradient", metric=METRIC, scope="both", chunk=chunk)
    objective = GradientMatching(record, config["real_per_class"])
    judge = Student(network_of(config["network"], golden.parameters(), kind))
    real = WholeClass(golden["real"].to(kind))
    (loss,) = objective.losses(start, judge, real, Augment(config["augmentation"]), Streams("jiang"))
    (gradient,) = loss.gradients([start.images])
    golden.check(loss.value, golden[f"total_improved{SUFFIX[dtype]}"], "total", dtype)
    golden.check(gradient, golden[f"grad_syn_improved{SUFFIX[dtype]}"], "grad_syn", dtype)


@every_chunk
def test_every_step_of_the_official_program(case, monkeypatch, chunk):
    golden = case("jiang")
    config = golden.config
    assert (config["trace_metric"], config["inter_weight"]) == ("improved", config["num_classes"])
    objective = {"metric": METRIC, "scope": "both", "chunk": chunk}
    draws = no_draws(config["num_syn_updates"] * config["num_classes"], 1)
    training = no_draws(config["num_net_steps"], config["num_classes"] * config["ipc"])
    follow(golden, monkeypatch, config["augmentation"], draws, config["augmentation"], training, objective)
