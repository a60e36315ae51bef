"""IDC's distances of convolutions' gradients, and its updates class after class."""

import pytest
import torch
from parts import WholeClass, network_of
from torch import Tensor

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.distillation.loop import Distillation
from ddpipe.distillation.outer import Outer
from ddpipe.objectives.gradient import GradientMatching
from ddpipe.randomness import Streams
from ddpipe.students import Student
from ddpipe.students.stateless import Stateless
from ddpipe.synthetic.multiformation import MultiFormation

OBJECTIVES = {  # the case's names
    "mse": {"metric": "mse", "weights": "convolutions"},
    "l1": {"metric": "l1", "weights": "convolutions"},
    "cos": {"metric": "ours", "weights": "convolutions"},
    "mse_all": {"metric": "mse"},
}


class Scene:
    """What the case describes, in one dtype."""

    def __init__(self, golden, dtype: torch.dtype = torch.float32):
        config = golden.config
        names, weights = golden.arrays["param_names"].tolist(), golden.parameters()
        assert config["network"]["param_order"] == "all_convs_then_all_norms_then_classifier"
        depth = config["network"]["depth"]
        blocks = [(2 * n, 2 * n + 1, 2 * (depth + n), 2 * (depth + n) + 1) for n in range(depth)]  # ours
        order = [*(number for block in blocks for number in block), 4 * depth, 4 * depth + 1]
        assert sorted(order) == list(range(len(names)))
        self.network = network_of(config["network"], [weights[i].to(dtype) for i in order], dtype)
        mean, std = (torch.tensor(config[f"norm_{key}"], dtype=dtype).view(-1, 1, 1) for key in ("mean", "std"))
        classes = torch.arange(config["num_classes"]).repeat_interleave(config["ipc"])
        self.synthetic = MultiFormation(
            golden["syn"].to(dtype),
            classes,
            config["num_classes"],
            config["decode_factor"],
            lambda images: (images / 255 - mean) / std,
        )
        self.real = WholeClass((golden["real"].to(dtype) - mean) / std)
        self.batch = config["real_per_class"]

    def objective(self, name: str, **more) -> GradientMatching:
        return GradientMatching(
            settings.objectives.gradient.GradientMatching(name="gradient", **OBJECTIVES[name], **more), self.batch
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_and_gradient_of_the_undecoded_images(case, name, dtype):
    golden = case("idc_match")
    assert golden.config["metric_params"][name] == ("all" if name == "mse_all" else "conv_weights")
    scene, suffix = Scene(golden, getattr(torch, dtype)), "64" if dtype == "float64" else ""
    objective = scene.objective(name, sequential=True)
    losses = list(
        objective.losses(scene.synthetic, Student(scene.network), scene.real, Augment("none"), Streams("idc"))
    )
    values = torch.stack([loss.value for loss in losses]).double()
    golden.check(values, golden[f"loss_{name}{suffix}"], "loss", dtype)
    gradients = [loss.gradients([scene.synthetic.images])[0] for loss in losses]
    if f"gx_{name}{suffix}" in golden:
        golden.check(torch.stack(gradients).sum(0), golden[f"gx_{name}{suffix}"], "gx", dtype)


class One(Stateless):
    """The case's network for every iteration."""

    def __init__(self, network):
        self.network = network

    def next(self, synthetic, rng, iteration: int) -> Student:
        return Student(self.network, age=iteration)


def test_every_update_in_its_order(case, monkeypatch):
    golden = case("idc_match")
    config, scene = golden.config, Scene(golden)
    assert not config["update_clamp"] and not config["network_updated"]
    rule = settings.Optimizer(lr=config["update_lr"], momentum=config["update_momentum"])
    monkeypatch.setattr(scene.synthetic, "begin_", lambda: None)
    run = Distillation(
        scene.synthetic,
        scene.objective(config["update_metric"], sequential=True),
        One(scene.network),
        scene.real,
        Augment("none"),
        Outer(scene.synthetic.groups(), {"images": rule}),
        Streams("idc"),
        torch.zeros(config["update_repetitions"]),
    )
    seen: list[Tensor] = []
    step = run.outer.step
    monkeypatch.setattr(run.outer, "step", lambda loss: (seen.append(loss.value), step(loss)))
    for _ in range(config["update_repetitions"]):
        run.advance()
    assert len(seen) == config["update_repetitions"] * config["num_classes"]
    for number, value in enumerate(seen):
        golden.check(value.double(), golden[f"upd{number}_loss"], "upd_loss", "float32")
    golden.check(run.synthetic.images.detach(), golden["upd_syn_final"], "upd_syn_final")
    torch.testing.assert_close(run.history.double(), torch.stack(seen).view(-1, config["num_classes"]).sum(1).double())
