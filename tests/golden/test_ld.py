"""LD in both variants: the official loop over the stored real batches, run by the pipeline's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import Distillation
from ddpipe.distillation.outer import Outer
from ddpipe.networks import Classifier
from ddpipe.objectives import lookahead, regression
from ddpipe.randomness import Streams
from ddpipe.settings.labels import Labels
from ddpipe.settings.part import records
from ddpipe.students import restarted
from ddpipe.synthetic.real import Real


class TwoConvolutions(Classifier):
    """The network that the case describes, with its weights `theta`; a last layer without weights of the case is 0."""

    def __init__(self, spec: dict, theta: Tensor):
        super().__init__()
        (first, second), kernel, padding = spec["conv_filters"], spec["kernel_size"], spec["conv_padding"]
        self.features = nn.Sequential(
            nn.Conv2d(spec["channels"], first, kernel, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, kernel, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(spec["flat_dim"], spec["feature_dim"]),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(spec["feature_dim"], spec["num_classes"])
        self.to(theta)
        count = sum(p.numel() for p in self.parameters())
        nn.utils.vector_to_parameters(torch.cat([theta, theta.new_zeros(count - len(theta))]), self.parameters())

    def embed(self, images: Tensor) -> Tensor:
        return self.features(images)


class Stored:
    """The case's real batches, one after another, in place of passes."""

    def __init__(self, golden, dtype: torch.dtype):
        self.batches = iter(list(zip(golden["in/target_x"].to(dtype), golden["in/target_y"], strict=True)))

    def next(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return next(self.batches)


def run_of(golden, variant: str, dtype: torch.dtype, monkeypatch) -> Distillation:
    config, theta = golden.config, golden[f"in/theta0_{variant}"].to(dtype)
    network = TwoConvolutions(config["network"], theta)
    images, adam = golden["in/base_x"].to(dtype), {"optimizer": "adam", "betas": config["adam_betas"]}
    synthetic = Real(images, torch.arange(len(images)) % config["num_classes"], config["num_classes"])
    synthetic.label_(Labels(scale="one-hot", learned=True, init="uniform"))
    synthetic.targets.data.copy_(golden["in/labels0"])
    grey = torch.randint(256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    real = Resident(grey, torch.arange(3), fit(grey, settings.Dataset(source="digits"), dtype))
    subset = {"batch": config["target_batch"], "subset": config["inner_batch"]}
    if variant == "or2":
        chosen = records("objectives")["lookahead"](name="lookahead", lr=config["inner_lr"], **subset)
        objective = lookahead.Lookahead(chosen, real)
    else:
        numbers = {"regularisation": config["ridge_lambda"], "mixing": config["w_mix"]}
        numbers |= {"scale_lr": config["adam_scale_lr"]}
        chosen = records("objectives")["regression"](name="regression", **numbers, **subset)
        objective = regression.Regression(chosen, real, network)
        objective.head.weights = golden["in/w0"].to(dtype)
        monkeypatch.setattr(regression, "Head", lambda network, scale_lr: objective.head)
    objective.passes = Stored(golden, dtype)
    perms = iter(golden["in/perm"])
    monkeypatch.setattr(torch, "randperm", lambda n, generator: next(perms))
    monkeypatch.setattr(restarted, "initialise_", lambda network, rng: network)  # it has the case's weights
    learning = records("students")["restarted"](name="restarted", lr=config["adam_net_lr"], **adam)
    pool = restarted.Restarted(learning, network)
    outer = Outer(synthetic.learned_targets(), {"targets": settings.Optimizer(lr=config["adam_label_lr"], **adam)})
    history = torch.zeros(config["num_steps"], dtype=dtype)
    return Distillation(synthetic, objective, pool, real, Augment("none"), outer, Streams("ld"), history)


def noted(monkeypatch, owner: object, name: str, of) -> list:
    """Whatever `of` makes of the arguments and the result of each call."""
    notes: list = []
    original = getattr(owner, name)

    def call(*arguments, **more):
        result = original(*arguments, **more)
        notes.append(of(arguments, result))
        return result

    monkeypatch.setattr(owner, name, call)
    return notes


@pytest.mark.parametrize("bits", ["f64", "f32"])
@pytest.mark.parametrize("variant", ["or2", "rr"])
def test_every_step_of_the_official_loop(case, variant, bits, monkeypatch):
    golden = case("ld")
    dtype = {"f64": torch.float64, "f32": torch.float32}[bits]
    run = run_of(golden, variant, dtype, monkeypatch)
    count = len(golden[f"in/theta0_{variant}"])
    flat = lambda tensors: torch.cat([tensor.flatten() for tensor in tensors])[:count].clone()  # noqa: E731
    label_grads = noted(monkeypatch, run.outer.optimizers["targets"], "step", lambda given, _: given[0][0].clone())
    model_grads = noted(monkeypatch, run.students, "learn", lambda given, _: flat(given[0]))
    losses = noted(monkeypatch, F, "cross_entropy", lambda _, value: value.detach())
    locals_ = noted(monkeypatch, regression, "ridge", lambda _, weights: weights.detach())
    scales: list = []
    if variant == "rr":
        scales = noted(monkeypatch, run.objective.head.adam, "step", lambda given, _: given[0][0].clone())
    labels = []
    for _ in range(run.iterations):
        run.advance()
        labels.append(run.synthetic.targets.detach().clone())

    def check(quantity: str, actual: Tensor) -> None:
        golden.check(actual, golden[f"{variant}/{bits}/{quantity}"], quantity)

    # or2: the network's, the real batch's in chunks, of which there is one, and as a whole; rr: the batch's first
    label, model, calls = (2, 0, 3) if variant == "or2" else (0, 1, 2)
    check("label_loss", torch.stack(losses[label::calls]))
    check("model_loss", torch.stack(losses[model::calls]))
    check("label_grad", torch.stack(label_grads))
    check("labels", torch.stack(labels))
    stored = golden.config["model_grad_stored_steps"][str(dtype).removeprefix("torch.")]
    check("model_grad", torch.stack(model_grads[:stored]))
    check("theta_final", flat([p.detach() for p in run.students.network.parameters()]))
    if variant == "rr":
        check("w_local", torch.stack(locals_))
        check("w_final", run.objective.head.weights)
        check("scale_grad", torch.cat(scales))
        check("scale_final", run.objective.head.scale.detach())
