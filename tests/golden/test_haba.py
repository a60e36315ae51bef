"""HaBa: hallucinators, matching through them with every gradient, and the contrastive terms of both players."""

import pytest
import torch
from parts import network_of
from test_mtt_match import objective, split
from torch import Tensor

from ddpipe.objectives.contrast import likeness, supervised_contrast, unlikeness
from ddpipe.synthetic import Batch, Hallucinator
from ddpipe.synthetic.hallucinator import Weights, hallucinate
from ddpipe.training.unroll import Gradient


def stacks(golden) -> Weights:
    """The hallucinators of a case in float64, stacked; scale and shift lose their axis of length 1."""
    found = {name: golden[f"hall_{name}"].double() for name in golden.config["hallucinator_params"]}
    return Weights(**{name: stack.squeeze(1) if name in ("scale", "shift") else stack for name, stack in found.items()})


def synthetic_of(golden) -> Hallucinator:
    per_class, num_classes = golden.config["bases_per_class"], golden.config["num_classes"]
    classes = torch.arange(num_classes).repeat_interleave(per_class)
    return Hallucinator(golden["bases"].double().flatten(0, 1), classes, stacks(golden), num_classes)


def test_every_base_through_every_hallucinator(case):
    golden = case("haba")
    weights, bases = stacks(golden), golden["bases"].double().flatten(0, 1)
    images = [
        hallucinate(bases, Weights(*(stack[number] for stack in weights))) for number in range(len(weights.scale))
    ]
    golden.check(torch.stack(images), golden["images_f64"], "images")


def test_the_set_is_these_images_class_by_class(case):
    golden = case("haba")
    synthetic = synthetic_of(golden)
    expected = golden["images_f64"].transpose(0, 1).flatten(0, 1)
    golden.check(synthetic.decode().images.detach(), expected, "images")
    order = torch.arange(len(synthetic)).flip(0)
    golden.check(synthetic.decode(order).images.detach(), expected.flip(0), "images")


@pytest.mark.parametrize("how", ["exact", "full"])
def test_matching_through_hallucinators(case, how):
    golden = case("haba")
    synthetic, made = synthetic_of(golden), objective(golden, how, torch.float64)
    start, target = golden["theta_start"].double(), golden["theta_target"].double()
    network = network_of(golden.config["network"], split(golden.config, start), torch.float64)
    batches = []
    for row, style in zip(golden["batches"], golden["hallucinator_of_step"].tolist(), strict=True):
        bases = row[row != golden.config["batch_pad_value"]]
        batches.append(Batch(*synthetic.decode(bases * synthetic.styles + style)))
    loss = made.match(Gradient(network), start, target, batches)
    golden.check(loss.value, golden["match_loss_f64"], "match_loss")

    groups = synthetic.groups()
    by_bases, *by_weights, by_lr = loss.gradients([*groups["bases"], *groups["hallucinators"], made.lr])
    golden.check(by_bases.view_as(golden["bases"]), golden["grad_bases_f64"], "grad_bases")
    golden.check(by_lr, golden["grad_lr_f64"], "grad_lr")
    for name, gradient in zip(synthetic.weights, by_weights, strict=True):
        expected = golden[f"grad_hall_{name}_f64"]
        golden.check(gradient.view_as(expected), expected, f"grad_hall_{name}")


def embeddings(golden) -> tuple[Tensor, Tensor]:
    return golden["emb0"].requires_grad_(), golden["emb1"].requires_grad_()


def test_cosines_of_both_players(case):
    golden = case("haba")
    one, other = embeddings(golden)
    golden.check(likeness(one, other).detach(), golden["cos_adv_f64"], "cos_adv")
    golden.check(unlikeness(one, other).detach(), golden["cos_pull_f64"], "cos_pull")


def test_supervised_contrast_and_its_gradients(case):
    golden = case("haba")
    one, other = embeddings(golden)
    value = supervised_contrast(one, other, golden["emb_labels"], golden.config["supcon_temperature"])
    golden.check(value.detach(), golden["supcon_f64"], "supcon")
    for number, gradient in enumerate(torch.autograd.grad(value, (one, other))):
        golden.check(gradient, golden[f"supcon_grad{number}_f64"], f"supcon_grad{number}")
