"""GTN: a course of generated batches, a learner of its own, and the gradient through both, learned steps and norms."""

import pytest
import torch
import torch.nn.functional as F
from parts import copy_
from torch import Tensor

from ddpipe import networks
from ddpipe.augmentation.siamese import Augment
from ddpipe.evaluation import TrainingSet, replay
from ddpipe.objectives.unroll import Unroll
from ddpipe.randomness import Streams
from ddpipe.settings import Learner, Replay
from ddpipe.settings.objectives import unroll as record
from ddpipe.students import Student
from ddpipe.synthetic import Batch
from ddpipe.synthetic.generator import Generator, Network
from ddpipe.training.carried import walk


def set_of(golden, dtype: torch.dtype) -> Generator:
    spec = golden.config
    channels, classes, maps = spec["channels"], spec["num_classes"], spec["generator_channels"]
    network = Network(
        spec["noise_dim"] + classes, spec["generator_hidden"], (maps, maps // 2), channels, spec["image_size"][0]
    )
    weights = [golden[f"in/gen{number}"].to(dtype) for number in range(len(spec["generator_params"]))]
    assert spec["output_scale"] == 2 and spec["bn_eps"] == network.layers[1].eps
    return Generator(copy_(network.to(dtype), weights), golden["in/curriculum"].to(dtype), classes)


def learner_of(golden, dtype: torch.dtype) -> networks.Classifier:
    spec = golden.config
    *widths, hidden = spec["classifier_widths"]
    settings = Learner(kind="learner", widths=widths, halved=[1, 2], halving="pool", hidden=hidden)
    network = networks.build(settings, spec["channels"], spec["image_size"][0], spec["num_classes"]).to(dtype)
    return copy_(network, [golden[f"in/cls{number}"].to(dtype) for number in range(len(spec["classifier_params"]))])


class Given:
    """Passes over the real data that consist of the case's batches."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]]):
        self.batches = iter(batches)

    def next(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return next(self.batches)


def objective_of(golden, intermediate: bool, gradient: str, dtype: torch.dtype) -> Unroll:
    steps = golden.config["num_steps"]
    config = record.Unroll(
        **{"name": "unroll", "steps": steps, "blocks": steps, "rates": "log", "momentum": 0.5, "momenta": "log"},
        **{"every": 1 if intermediate else None, "gradient": gradient},
    )
    made = Unroll(config, real=None, real_batch=0, varied=Augment("none"))
    made.raw, made.raw_momenta = (golden[f"in/log_{name}"].to(dtype).requires_grad_() for name in ("lr", "momentum"))
    looks = [("inter", t) for t in range(1, steps)] if intermediate else []
    real = [(golden[f"in/{name}_x"][t].to(dtype), golden[f"in/{name}_y"][t]) for name, t in looks]
    made.passes = Given([*real, (golden["in/meta_x"].to(dtype), golden["in/meta_y"])])
    return made


@pytest.mark.variants_of("gtn")
@pytest.mark.parametrize("gradient", ["exact", "full"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_meta_gradient(case, variant, gradient, dtype, monkeypatch):
    golden = case("gtn")
    spec, expected = golden.config["variants"][variant], f"{variant}/{str(dtype).replace('torch.float', 'f')}/"
    if spec["intermediate_losses"]:
        assert spec["first_intermediate_step"] == 1
    synthetic, network = set_of(golden, dtype), learner_of(golden, dtype)
    made, walks = objective_of(golden, spec["intermediate_losses"], gradient, dtype), []
    monkeypatch.setattr("ddpipe.training.carried.walk", lambda *given: walks.append(walk(*given)) or walks[-1])
    (loss,) = made.losses(synthetic, Student(network), None, Augment("none"), Streams("case"))
    if spec["outputs_stored"]:
        golden.check(loss.value, golden[f"{expected}meta_loss"], "meta_loss")
    learned = [synthetic.noise, made.raw, made.raw_momenta, *synthetic.network.parameters()]
    names = ["curriculum", "log_lr", "log_momentum", *(f"gen{number}" for number in range(len(learned) - 3))]
    for name, by in zip(names, loss.gradients(learned), strict=True):
        golden.check(by, golden[f"{expected}grad_{name}"], f"grad_{name}")
    for taken in walks if spec["outputs_stored"] else []:
        weights = sum(p.numel() for p in network.parameters())
        golden.check(taken.thetas[-1][:weights], golden[f"{expected}final_params"], "final_params")
        golden.check(taken.thetas[-1][weights:], golden[f"{expected}final_buffers"], "final_buffers")


def test_images_and_labels_of_the_first_batch(case):
    golden = case("gtn")
    synthetic = set_of(golden, torch.float32)
    golden.check(synthetic.generate(0).detach(), golden["final_only/f32/images0"], "images0")
    index = next(synthetic.divided(golden.config["num_steps"]))
    images, targets = synthetic.decode(index)
    places = synthetic.order[index]
    assert sorted(places.tolist()) == list(range(golden.config["batch_size"]))
    golden.check(targets, golden["final_only/f32/labels0"][places], "labels0")
    golden.check(images.detach(), golden["final_only/f32/images0"][places], "images0")


def test_a_replay_of_the_set_ends_at_the_weights_and_losses_of_the_case(case):
    golden = case("gtn")
    synthetic, network = set_of(golden, torch.float64), learner_of(golden, torch.float64)
    made = objective_of(golden, False, "exact", torch.float64)
    with torch.no_grad():
        images, targets = synthetic.decode()
    data = TrainingSet(lambda index: Batch(images[index], targets[index]), len(synthetic), made.hints(synthetic))
    rule = replay.make(Replay(kind="replay"), flip=False)
    group, weights = rule.gather(network, 1), [p.detach().clone() for p in network.parameters()]
    losses = []

    def noted(*batch: Tensor) -> Tensor:
        losses.append(own(*batch))
        return losses[-1]

    own, group.loss, group.initialise_ = group.loss, noted, lambda rngs: copy_(network, weights)
    (found,) = rule.fit(group, data, [Streams("case")])
    prefix = "final_only/f64/"
    golden.check(torch.stack(losses).detach(), golden[f"{prefix}inner_losses"], "inner_losses")
    flat = torch.cat([p.detach().flatten() for p in found.parameters()])
    golden.check(flat, golden[f"{prefix}final_params"], "final_params")
    golden.check(torch.cat(list(found.buffers())), golden[f"{prefix}final_buffers"], "final_buffers")
    loss = F.cross_entropy(found.eval()(golden["in/meta_x"].double()), golden["in/meta_y"])
    golden.check(loss.detach(), golden[f"{prefix}meta_loss"], "meta_loss")
