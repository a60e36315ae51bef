"""RFAD's features, kernel, losses, gradients and steps against its official network and expressions."""

import pytest
import torch
from torch import Tensor

from ddpipe import networks
from ddpipe.augmentation.siamese import Augment
from ddpipe.distillation.outer import Outer
from ddpipe.objectives.ridge import RidgeRegression, predictions
from ddpipe.randomness import Streams
from ddpipe.settings import ConvNet, Optimizer
from ddpipe.settings.labels import Labels
from ddpipe.settings.objectives.ridge import RidgeRegression as Record
from ddpipe.settings.students.ensemble import EnsembleStudents
from ddpipe.students import Student
from ddpipe.students.ensemble import Ensemble
from ddpipe.students.kernel import Features
from ddpipe.synthetic import Batch
from ddpipe.synthetic.transformed import Transformed

VARIANTS = ("tm", "rgb")
every_variant = pytest.mark.parametrize("variant", VARIANTS)


class Real:
    """The case's real images, all of them a batch."""

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels, self.class_index = images, labels, [torch.arange(len(labels))]

    def batch(self, rows: Tensor) -> Tensor:
        return self.images[rows]


class Given:
    """One case: its set, its networks as students have them, and its real images."""

    def __init__(self, golden, variant: str):
        self.golden, self.prefix, config = golden, f"{variant}_", golden.config
        spec, classes = config["variants"][variant], config["num_classes"]
        channels, side, _ = spec["image_shape_chw"]
        self.real = Real(self["x_target"], self["label_target"])
        count = config["num_targets"]
        architecture = ConvNet(
            kind="convnet",
            depth=len(config["conv_keys"]),
            width=spec["width"],
            norm="none",
            first_padding=config["conv_padding"],
            initialisation="kernel",
        )
        network = networks.build(architecture, channels, side, classes).double()
        chosen = EnsembleStudents(
            name="ensemble",
            networks=spec["num_networks"],
            scale=config["kernel_scale"],
            shift=config["kernel_offset"],
        )
        students = Ensemble(chosen, network)
        for number, member in enumerate(students.networks.members):
            convolutions = [layer for layer in member.features if isinstance(layer, torch.nn.Conv2d)]
            for layer, key in zip(convolutions, config["conv_keys"], strict=True):
                for name in ("weight", "bias"):
                    getattr(layer, name).data.copy_(self[f"net{number}_{key}.{name}"])
        self.student = Student(kernel=Features(students.networks, chosen.chunk, chosen.scale, chosen.shift))
        labels = torch.arange(classes).repeat_interleave(config["ipc"])
        self.synthetic = Transformed(self["x"], labels, classes)
        self.synthetic.label_(Labels(scale="centred", learned=True))
        with torch.no_grad():
            self.synthetic.targets.copy_(self["y"])
            if spec["transform_stored"]:
                self.synthetic.transform.copy_(self["tm"])
        self.count, self.jit = count, float(self["jit"])
        assert self.jit == spec["jit"]

    def __getitem__(self, key: str) -> Tensor:
        return self.golden[self.prefix + key]

    def __contains__(self, key: str) -> bool:
        return self.prefix + key in self.golden

    def objective(self, criterion: str) -> RidgeRegression:
        config = Record(name="ridge", regularisation=self.jit, criterion=criterion, batch=self.count, passes=False)
        made = RidgeRegression(config, self.real, 0, flip=True)
        made.k = self["k"].clone().requires_grad_()
        return made

    def loss(self, objective: RidgeRegression):
        self.student.kernel.last = None
        streams = Streams("case")
        (loss,) = objective.losses(self.synthetic, self.student, self.real, Augment("none"), streams)
        return loss

    def check(self, actual: Tensor, key: str, quantity: str) -> None:
        self.golden.check(actual.detach(), self[key], quantity)


@every_variant
def test_features_kernel_and_predictions(case, variant):
    given = Given(case("rfad"), variant)
    kernel, shown = given.student.kernel, given.synthetic.decode()
    given.check(kernel.embed(shown.images), "feat_x", "feat_x")
    given.check(kernel.embed(given.real.images), "feat_target", "feat_target")
    own = kernel.own(shown.images)
    regularised = own + given.jit * own.diagonal().mean() * torch.eye(len(own))
    given.check(regularised, "kss_reg", "kss_reg")
    found = predictions(kernel, given.real.images, Batch(*shown), given.jit)
    given.check(found, "pred", "pred")


@every_variant
@pytest.mark.parametrize(("criterion", "loss"), [("platt", "platt"), ("mean-squared-error", "mse")])
def test_losses_and_gradients(case, variant, criterion, loss):
    given = Given(case("rfad"), variant)
    objective = given.objective(criterion)
    found = given.loss(objective)
    given.check(found.value, f"{loss}_loss", "loss")
    learned = {"x": given.synthetic.images, "y": given.synthetic.targets, "tm": given.synthetic.transform}
    learned |= {"k": objective.k} if criterion == "platt" else {}
    for name, gradient in zip(learned, found.gradients(list(learned.values())), strict=True):
        if f"{loss}_grad_{name}" in given:
            given.check(gradient, f"{loss}_grad_{name}", f"grad_{name}")


@every_variant
def test_three_steps_of_adabelief(case, variant):
    given = Given(case("rfad"), variant)
    steps, objective = given.golden.config["adabelief"], given.objective("platt")
    rates = {"images": "lr_x", "targets": "lr_y", "transform": "lr_transform", "temperature": "lr_k"}
    config = {
        group: Optimizer(optimizer="adabelief", lr=steps[key], betas=steps["betas"], eps=steps["eps"])
        for group, key in rates.items()
    }
    groups = given.synthetic.groups() | given.synthetic.learned_targets() | objective.groups()
    outer, losses = Outer(groups, config), []
    for _ in range(steps["steps"]):
        loss = given.loss(objective)
        outer.step(loss)
        losses.append(loss.value)
    given.check(torch.stack(losses), "adabelief3_losses", "adabelief3")
    for key, value in {"x": given.synthetic.images, "y": given.synthetic.targets, "k": objective.k}.items():
        given.check(value, f"adabelief3_{key}", "adabelief3")
    if "adabelief3_tm_diag" in given:
        given.check(given.synthetic.transform.diagonal(), "adabelief3_tm_diag", "adabelief3")
