"""RTP's iteration on a memory and on images: recall, a long unroll with momentum, one augmentation of it all."""

import math
from collections.abc import Iterator

import pytest
import torch
from parts import Recorded, WholeClass, network_of
from test_mtt_match import split
from torch import Tensor

from ddpipe import settings
from ddpipe.augmentation.siamese import FLIP, ROTATE, Augment, Draw
from ddpipe.distillation.outer import Outer
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.unroll import Unroll
from ddpipe.randomness import Streams
from ddpipe.settings.optimizers import Clip
from ddpipe.students import Student
from ddpipe.synthetic import Synthetic
from ddpipe.synthetic.memory import Memory
from ddpipe.synthetic.pixels import Pixels
from ddpipe.training.sweep import walk

NAMES = {"bases": {"basis": "bases", "coeff": "addresses"}, "images": {"imgs": "images"}}  # the case's -> ours


class Iteration:
    """One iteration of a case's variant, whose addresses, real images and augmentation are given."""

    def __init__(self, golden, spec: dict, dtype: torch.dtype, gradient: str, monkeypatch: pytest.MonkeyPatch):
        self.golden, self.spec, self.dtype = golden, spec, dtype
        prefix, classes = f"{spec['prefix']}/in/", spec["num_classes"]
        given = [golden[prefix + name].to(dtype) for name in NAMES[spec["kind"]]]
        if spec["kind"] == "bases":
            self.synthetic: Synthetic = Memory(*given, spec["downsample"], classes)
        else:
            self.synthetic = Pixels(*given, torch.arange(len(given[0])) // spec["images_per_class"], classes)
        assert self.synthetic.sizes == [spec["images_per_class"]] * classes
        rows, each = golden[f"{prefix}indices"], spec["images_per_class_per_step"]

        def balanced(rng: torch.Generator, n: int) -> Iterator[Tensor]:
            assert n == each
            return iter(rows)

        monkeypatch.setattr(self.synthetic, "balanced", balanced)
        start = golden[f"{prefix}theta0"].to(dtype)
        self.student = Student(network_of(spec["network"], split(spec, start), dtype))
        images, labels = golden[f"{prefix}real_x"].to(dtype), golden[f"{prefix}real_y"]
        self.real = WholeClass([images[labels == label] for label in range(classes)])
        self.real.labels = labels.sort().values
        self.augment = Recorded("none", [self.drawn()])
        numbers = {"steps": spec["num_steps"], "examples": each, "lr": spec["lr"], "momentum": spec["momentum"]}
        chosen = settings.objectives.unroll.Unroll(name="unroll", gradient=gradient, **numbers)
        self.objective = Unroll(chosen, self.real, spec["real_per_class"], varied=Augment("none"))
        self.objective.raw = torch.full_like(self.objective.raw, spec["lr"], dtype=dtype)
        self.walks: list = []
        monkeypatch.setattr(
            "ddpipe.objectives.unroll.sweep.walk", lambda *got: self.walks.append(walk(*got)) or self.walks[-1]
        )

    def drawn(self) -> Draw:
        """The operation of the case as raw draws."""
        strategy = self.spec["augmentation"]
        if strategy == "none":
            return Draw("none", torch.empty(0, 1))
        value = self.spec["aug_value"]
        assert self.golden.config["flip_rule"].endswith(f"when aug_value < {FLIP}")
        raw = value if strategy == "flip" else value / (2 * math.radians(ROTATE)) + 0.5
        return Draw(strategy, torch.tensor([[raw]], dtype=torch.float64))

    def loss(self) -> Loss:
        self.augment.handed_out = 0
        (loss,) = self.objective.losses(self.synthetic, self.student, self.real, self.augment, Streams("case"))
        return loss

    def learned(self) -> dict[str, Tensor]:
        """What is learned, by the case's names."""
        return {theirs: getattr(self.synthetic, ours) for theirs, ours in NAMES[self.spec["kind"]].items()}


@pytest.fixture
def iteration(case, variant, monkeypatch, request):
    """Of the case of the test's marker."""

    def made(bits: str, gradient: str = "exact") -> Iteration:
        golden = case(request.node.get_closest_marker("variants_of").args[0])
        spec = golden.config["variants"][variant]
        if bits not in spec["precisions"]:
            pytest.skip("not stated")
        return Iteration(golden, spec, {"f64": torch.float64, "f32": torch.float32}[bits], gradient, monkeypatch)

    return made


def check(made: Iteration, bits: str) -> None:
    golden, spec = made.golden, made.spec
    expected = f"{spec['prefix']}/{bits}/"
    loss, learned = made.loss(), made.learned()
    golden.check(loss.value, golden[f"{expected}meta_loss"], "meta_loss")
    for taken in made.walks:
        golden.check(taken.thetas[-1].detach(), golden[f"{expected}final_weights"], "final_weights")
    gradients = loss.gradients(list(learned.values()))
    for name, gradient in zip(learned, gradients, strict=True):
        golden.check(gradient, golden[f"{expected}grad_{name}"], f"grad_{name}")
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    golden.check(norm, golden[f"{expected}grad_total_norm"], "grad_total_norm")


@pytest.mark.variants_of("rtp")
@pytest.mark.parametrize("bits", ["f64", "f32"])
@pytest.mark.parametrize("gradient", ["exact", "full"])
def test_meta_gradient(iteration, bits, gradient):
    check(iteration(bits, gradient), bits)


@pytest.mark.variants_of("rtp_aug")
@pytest.mark.parametrize("bits", ["f64", "f32"])
@pytest.mark.parametrize("gradient", ["exact", "full"])
def test_meta_gradient_with_one_operation_for_all_steps_and_the_real_batch(iteration, bits, gradient):
    made = iteration(bits, gradient)
    check(made, bits)
    (outcomes,) = made.augment.outcomes
    assert len(outcomes) == 2, "the set once, and the real batch"


@pytest.mark.variants_of("rtp")
def test_recall_and_the_outer_step(iteration, variant):
    made = iteration("f32")
    if made.spec["kind"] != "bases":
        pytest.skip("without a memory")
    golden, rules = made.golden, made.golden.config
    with torch.no_grad():
        golden.check(made.synthetic.decode().images, golden[f"{variant}/f32/all_images"], "all_images")
    loss, groups = made.loss(), made.synthetic.groups()
    assert rules["outer_optimizer"] == "sgd"
    how = settings.Optimizer(lr=rules["outer_lr"], momentum=rules["outer_momentum"])
    Outer(groups, dict.fromkeys(groups, how), Clip(norm=rules["outer_clip_norm"])).step(loss)
    for name, learned in made.learned().items():
        wanted = golden[f"{variant}/f32/{name}_after"]
        golden.check(learned.detach().view(wanted.shape), wanted, f"{name}_after")
