"""Targets as a part: their scale, whether they are learned, and which parts can use them."""

import itertools

import pytest
import torch
from pydantic import ValidationError

from ddpipe import networks
from ddpipe.augmentation.siamese import Augment
from ddpipe.distillation.loop import make
from ddpipe.errors import UserError
from ddpipe.files import artifacts
from ddpipe.randomness import Streams, generator
from ddpipe.settings.labels import Labels
from ddpipe.students import Segment, Student
from tests.contexts import context
from tests.contracts.compositions import (
    ARCHITECTURE,
    OBJECTIVE,
    SIDE,
    SIZES,
    SYNTHETIC,
    advanced,
    equal,
    every_start,
    of,
    partner,
    resident,
    run_of,
    settings_of,
)

LEARNED = {"scale": "one-hot", "learned": True, "init": "hard"}
RATES = {"lr": 1e-5, "hallucinators": 0.01, "rates": 0.05, "momenta": 0.05, "targets": 0.05}  # of all others 0.1
MOVING = [name for name in OBJECTIVE if settings_of("objectives", OBJECTIVE[name]).moves_targets]


def chosen(objective="trajectory", start="pixels-real", labels=LEARNED, **more):
    groups = (
        settings_of("objectives", OBJECTIVE[objective]).learned | settings_of("synthetic", SYNTHETIC[start]).learned
    )
    groups |= {"targets"} if labels["learned"] else set()
    outer = {group: {"lr": RATES.get(group, 0.1), "momentum": 0.5} for group in groups}
    return of(objective, partner(objective), start=start, labels=labels, outer=outer, **more)


def test_some_objective_moves_targets_and_some_does_not():
    assert set() < set(MOVING) < set(OBJECTIVE)


@every_start
@pytest.mark.parametrize("objective", MOVING)
def test_learned_targets_move_and_stay_distributions(objective, start):
    run = run_of(chosen(objective, start))
    before = run.synthetic.targets.detach().clone()
    advanced(run, 3).check_finite()
    targets = run.synthetic.decode().targets.detach()
    assert not torch.equal(targets, before) and bool((targets >= 0).all())
    torch.testing.assert_close(targets.sum(1), torch.ones(len(targets)))


FREE, SOFTMAX = {**LEARNED, "scale": "free"}, {**LEARNED, "softmax": True}


@every_start
@pytest.mark.parametrize("objective", [name for name in MOVING if name.startswith("unroll")])
def test_free_targets_go_anywhere_and_a_softmax_gives_distributions(objective, start):
    free, shaped = (run_of(chosen(objective, start, labels)) for labels in (FREE, SOFTMAX))
    hard = free.synthetic.targets.detach().clone()
    torch.testing.assert_close(shaped.synthetic.targets, hard.softmax(1))
    for run in (free, shaped):
        before = run.synthetic.decode().targets.detach().clone()
        advanced(run, 3).check_finite()
        assert bool((run.synthetic.decode().targets != before).any())
    targets = free.synthetic.decode().targets.detach()
    assert float((targets.sum(1) - 1).abs().max()) > 1e-5
    torch.testing.assert_close(shaped.synthetic.decode().targets.sum(1), torch.ones(len(hard)))
    (learned,) = shaped.synthetic.learned_targets()["targets"]
    assert isinstance(learned, torch.nn.Parameter) and not torch.equal(learned, hard)


@pytest.mark.parametrize("labels", [FREE, SOFTMAX])
def test_fewer_examples_than_classes_are_allowed_where_targets_are_learned(labels):
    few = {"name": "pixels", "init": "noise", "classes": 1}
    run = run_of(chosen("unroll", labels=labels, synthetic=few))
    assert len(run.synthetic) == 2 < len(SIZES) and run.synthetic.sizes == [2, 0, 0]
    before = run.synthetic.images.detach().clone()
    advanced(run, 3).check_finite()
    assert bool((run.synthetic.images != before).flatten(1).any(1).all())
    assert run.synthetic.decode().targets.shape == (2, len(SIZES))
    assert run.objective.hints(run.synthetic)["blocks"].tolist() == [0, 1]
    (mistake,) = of("unroll", "fresh", synthetic=few).misfits()
    assert mistake.startswith("labels.learned: synthetic 'pixels' as it is set has classes without examples")
    with pytest.raises(UserError, match=r"^synthetic\.classes: 4, but there are 3"):
        run_of(chosen("unroll", labels=labels, synthetic=few | {"classes": 4}))


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"scale": "free", "learned": False, "init": "hard"}, "only learned targets are free"),
        ({"scale": "one-hot", "learned": False, "init": "hard", "softmax": True}, "of learned distributions alone"),
        ({"scale": "free", "learned": True, "init": "hard", "softmax": True}, "of learned distributions alone"),
    ],
)
def test_labels_that_mean_nothing_are_refused(labels, why):
    with pytest.raises(ValidationError, match=why):
        Labels.model_validate(labels)


def test_a_softmax_that_nobody_chose_changes_no_digest():
    assert "softmax" not in Labels(**LEARNED).model_dump() and "softmax" in Labels(**SOFTMAX).model_dump()


@pytest.mark.parametrize(
    ("objective", "labels"),
    [
        (name, labels)
        for name, labels in itertools.product(MOVING, [LEARNED, FREE, SOFTMAX])
        if labels["scale"] in settings_of("objectives", OBJECTIVE[name]).scales
    ],
)
def test_they_are_part_of_the_state(objective, labels, tmp_path):
    settings = chosen(objective, labels=labels, average=0.5)
    unbroken = advanced(run_of(settings), 2)
    artifacts.write_tensors(tmp_path / "state.safetensors", unbroken.state_dict())
    resumed = run_of(settings)
    resumed.load_state_dict(artifacts.read_tensors(tmp_path / "state.safetensors")[0])
    assert equal(advanced(resumed, 2).state_dict(), advanced(unbroken, 2).state_dict())
    own = "parametrizations.targets.original" if labels is SOFTMAX else "targets"
    assert {f"synthetic/{own}", "outer/targets.0"} <= unbroken.state_dict().keys()


@pytest.mark.parametrize("learned", [False, True])
def test_scores_have_a_factor_and_nothing_else_has(learned):
    """FRePo's: the root of 10 / K."""
    made = [make(settings_of("synthetic", SYNTHETIC["pixels-real"]), context(resident(), 2)) for _ in range(2)]
    made[0].label_(Labels(scale="centred", learned=learned))
    made[1].label_(Labels(scale="centred", learned=learned, factor=0.5))
    assert torch.equal(made[1].targets.detach(), 0.5 * made[0].targets.detach())
    assert "factor" not in Labels(scale="centred").model_dump()
    with pytest.raises(ValidationError, match="only scores have one"):
        Labels(scale="one-hot", factor=0.5)


@pytest.mark.parametrize("gradient", ["exact", "full"])
def test_their_gradient_agrees_with_finite_differences(gradient):
    real = resident((4, 5), torch.float64)
    settings = chosen()
    network = networks.create(ARCHITECTURE, 2, SIDE, 2, generator("network")).double()
    weights = torch.cat([p.detach().flatten() for p in network.parameters()])
    moved = 0.1 * torch.randn(weights.shape, dtype=torch.float64, generator=generator("segment"))
    student = Student(network, Segment(weights, weights + moved))
    synthetic = make(settings.synthetic, context(real, 2)).double()
    synthetic.label_(settings.labels)
    objective = make(settings.objective.model_copy(update={"gradient": gradient}), context(real, 2))
    targets = synthetic.targets

    def value():
        return next(objective.losses(synthetic, student, real, Augment("none"), Streams("same draws")))

    (slope,) = value().gradients([targets])
    direction = torch.randn(targets.shape, dtype=torch.float64, generator=generator("direction"))
    step, values = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            targets.add_(direction, alpha=sign * step)
        values.append(float(value().value))
        with torch.no_grad():
            targets.sub_(direction, alpha=sign * step)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(float((slope * direction).sum()), rel=1e-5)


@pytest.mark.parametrize("objective", [name for name in OBJECTIVE if name not in MOVING])
def test_targets_that_would_never_move_are_refused(objective):
    settings = chosen(objective)
    (mistake,) = settings.misfits()
    assert mistake.startswith(f"labels.learned: objective {settings.objective.name!r}") and "no gradient" in mistake
    with pytest.raises(UserError, match="^labels.learned: "):
        run_of(settings)


def test_scores_where_cross_entropies_are_taken_are_refused():
    settings = chosen("gradient-ours", labels={"scale": "centred", "learned": False, "init": "hard"})
    (mistake, *_) = settings.misfits()
    assert mistake.startswith("labels.scale: 'centred' targets are scores, but objective 'gradient' takes cross-")


@pytest.mark.parametrize(("init", "hit", "miss"), [("hard", 2 / 3, -1 / 3), ("uniform", 0, 0)])
def test_centred_targets_are_less_one_over_the_classes(init, hit, miss):
    made = make(settings_of("synthetic", SYNTHETIC["pixels-real"]), context(resident(), 2))
    made.label_(Labels(scale="centred", init=init))
    rows = torch.arange(len(made))
    torch.testing.assert_close(made.targets[rows, made.classes], torch.full((len(made),), float(hit)))
    assert made.targets.shape == (2 * len(SIZES), len(SIZES))
    torch.testing.assert_close(made.targets.sum(1), torch.full((len(made),), float(hit + 2 * miss)))
    labels = {"scale": "centred", "learned": False, "init": init}
    assert torch.equal(run_of(of("distribution", "fresh", labels=labels)).synthetic.targets, made.targets)
