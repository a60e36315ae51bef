"""What every objective, regulariser and pool of students promises, and every composition of them."""

import random
from importlib import import_module
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ddpipe import networks, settings, students
from ddpipe.augmentation.siamese import Augment
from ddpipe.distillation.loop import Distillation, compose, make
from ddpipe.errors import UserError
from ddpipe.evaluation import Examination, TrainingSet
from ddpipe.files import artifacts
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams, generator
from ddpipe.settings.part import program, records
from ddpipe.students.kernel import Features
from ddpipe.synthetic import Batch
from tests.contexts import context
from tests.contracts.compositions import (
    ARCHITECTURE,
    AUGMENT,
    BUFFERS,
    OBJECTIVE,
    PAIRS,
    REGULARISER,
    SETS,
    SIDE,
    SIZES,
    SOME,
    STILL,
    STRATEGY,
    STUDENTS,
    SYNTHETIC,
    advanced,
    architecture_for,
    equal,
    every_combination,
    every_objective,
    every_pair,
    every_pool,
    every_set,
    every_start,
    every_two,
    every_two_and_a_set,
    gan,
    learned_by,
    of,
    partner,
    resident,
    run_of,
    serves,
    settings_of,
)

every_way = pytest.mark.parametrize(("augment", "norm"), [("none", "batch"), (STRATEGY, "instance")])
FAMILIES = ("objectives", "synthetic", "students", "regularisers", "selections")


TRIED = {"objectives": OBJECTIVE, "synthetic": SYNTHETIC, "students": STUDENTS, "regularisers": REGULARISER}


@pytest.mark.parametrize(
    ("family", "variant"), [(family, variant) for family, table in TRIED.items() for variant in table if table[variant]]
)
def test_every_part_has_numbers_to_be_tried_with(family, variant):
    spec = TRIED[family][variant]
    record = records(family)[spec["name"]]
    try:
        record.model_validate(spec)
    except ValidationError as error:
        where = f"{record.__module__.replace('.', '/')}.py"
        pytest.fail(f"tests/contracts/compositions.py must say with which numbers {where} is tried: {error}")


@pytest.mark.parametrize(("family", "name"), [(family, name) for family in FAMILIES for name in records(family)])
def test_a_record_says_what_it_is(family, name):
    kind = records(family)[name]
    assert kind.reference
    module = import_module(program(kind))
    assert module.__name__ == f"ddpipe.{family}.{name}" and callable(module.make) and module.__doc__
    if "name" in kind.model_fields:
        assert get_args(kind.model_fields["name"].annotation) == (name,)


@every_start
def test_the_settings_of_a_start_name_the_groups_that_it_learns(start):
    run = run_of(of(start=start))
    assert run.synthetic.groups().keys() == settings_of("synthetic", SYNTHETIC[start]).learned


@every_pair
def test_the_settings_of_an_objective_name_the_groups_that_it_learns(objective, pool):
    run = run_of(of(objective, pool))
    assert run.objective.groups().keys() == settings_of("objectives", OBJECTIVE[objective]).learned


@every_pair
@every_way
def test_every_composition_moves_every_image_and_keeps_its_losses_finite(objective, pool, augment, norm):
    """From noise: a real image may be what its own reconstruction is told to look like."""
    moves_every_image(run_of(of(objective, pool, augment, "pixels-noise"), norm=norm))


@every_two(PAIRS, augment=AUGMENT, beside=SETS[1:])
def test_and_so_does_every_composition_of_a_factorised_set(objective, pool, augment, beside):
    moves_every_image(run_of(of(objective, pool, augment, *beside)))


@every_pair
@pytest.mark.parametrize("start", STILL)
def test_a_set_of_which_nothing_is_learned_stays_as_it_is(objective, pool, start, tmp_path):
    """With `outer` empty, or for the objective alone: the rival of a method that learns its images."""
    chosen = of(objective, pool, start=start, clip={"norm": 1.0}, average=0.9)
    run = run_of(chosen)
    before = [part.clone() for part in run.synthetic.decode()]
    advanced(run, 4).check_finite()
    run.finish()
    assert bool((run.history[:4] > 0).all())
    after = run.synthetic.decode()
    assert torch.equal(after.images, before[0])
    assert objective == "trajectory-soft" or torch.equal(after.targets, before[1])
    continues_bit_identically(chosen, "instance", tmp_path)


@every_two([pair for pair in PAIRS if serves("partners", pair[1])], augment=AUGMENT)
def test_and_so_does_every_one_that_keeps_to_its_partners(objective, pool, augment):
    moves_every_image(run_of(of(objective, pool, augment, "latents", "partners")))


def moves_every_image(run: Distillation) -> None:
    before, lr = held(run).clone(), [tensor.detach().clone() for tensor in learned_by(run.objective)]
    advanced(run, 4).check_finite()
    after = held(run)
    assert run.iteration == 4 and bool((run.history[:4] > 0).all()) and bool((run.history[4:] == 0).all())
    assert bool((after != before).flatten(1).any(1).all())
    assert after.isfinite().all()
    assert not any(torch.equal(one, other) for one, other in zip(lr, learned_by(run.objective), strict=True))


def held(run: Distillation) -> torch.Tensor:
    """The images that a set learns, of which random batches may not have shown every part yet; else its examples."""
    (images,) = run.synthetic.groups().get("images", [run.synthetic.decode().images])
    return images.detach()


@pytest.mark.parametrize("start", ["pixels-real", "hallucinator", "latents"])
@every_objective
@every_pool
@pytest.mark.parametrize("regulariser", REGULARISER)
def test_parts_that_do_not_fit_are_refused_by_compose_as_by_check(start, objective, pool, regulariser):
    chosen = of(objective, pool, start=start, regulariser=regulariser)
    mistakes = list(chosen.misfits())
    if mistakes:
        with pytest.raises(UserError, match=rf"^{mistakes[0].partition(':')[0]}: "):
            run_of(chosen)
    else:
        run_of(chosen)
    beside = {"none": start, "contrast": "hallucinator", "partners": "latents"}[regulariser] == start
    assert ((objective, pool) in PAIRS and beside and serves(regulariser, pool)) == (not mistakes)


def test_groups_of_the_outer_optimiser_are_refused_by_compose_as_by_check():
    chosen = of(start="hallucinator", outer={"images": {"lr": 0.1}})
    (mistake,) = chosen.misfits()
    assert mistake.startswith("outer: has ['images'], but what is learned is ['bases', 'hallucinators']")
    with pytest.raises(UserError, match=r"^outer: has \['images'\], but what is learned is"):
        run_of(chosen)


def test_a_course_that_does_not_divide_into_the_blocks_is_refused_by_compose_as_by_check():
    spec = OBJECTIVE["unroll"] | {"blocks": 3}
    chosen = of("unroll", start="generator").model_copy(update={"objective": settings_of("objectives", spec)})
    (mistake,) = chosen.misfits()
    assert mistake == (
        "objective.blocks: the 2 batches of synthetic 'generator' do not divide into 3 blocks; set it to 2"
    )
    with pytest.raises(UserError, match=r"^objective\.blocks: "):
        run_of(chosen)


def test_students_that_follow_experts_need_a_buffer():
    chosen, real = of("trajectory", "experts"), resident()
    network = networks.build(ARCHITECTURE, 2, SIDE, len(SIZES))
    with pytest.raises(UserError, match="^students: 'experts' follow a buffer"):
        compose(chosen, context(real, 2, network))


@every_combination
@every_way
def test_a_resumed_run_continues_bit_identically(objective, pool, augment, norm, tmp_path):
    continues_bit_identically(of(objective, pool, augment), norm, tmp_path)


@every_start
def test_so_does_one_of_any_set(start, tmp_path):
    for objective in ("distribution", "unroll-balanced"):
        continues_bit_identically(of(objective, "fresh", STRATEGY, start), "instance", tmp_path)


@pytest.mark.parametrize(("objective", "pool"), [pair for pair in SOME if serves("partners", pair[1])])
def test_so_does_one_that_keeps_to_its_partners(objective, pool, tmp_path):
    continues_bit_identically(of(objective, pool, STRATEGY, "latents", "partners"), "batch", tmp_path)


@every_combination
def test_so_does_one_with_a_second_player_and_an_average(objective, pool, tmp_path):
    chosen = of(objective, pool, STRATEGY, "hallucinator", "contrast", average=0.9)
    continues_bit_identically(chosen, "instance", tmp_path)


@every_combination
def test_so_does_one_with_a_warm_start(objective, pool, tmp_path):
    warm = {"objective": {"name": "reconstruction", "batch": 4}, "iterations": 2}
    state = continues_bit_identically(of(objective, pool, start="decoder", warm=warm), "batch", tmp_path)
    assert len(state["history"]) == 10 and {"warm/objective.rows", "warm/outer.codes.0"} <= state.keys()


@pytest.mark.parametrize("name", get_args(settings.Optimizer.model_fields["optimizer"].annotation))
@pytest.mark.parametrize(("objective", "pool"), [("gradient-ours", "trained"), ("trajectory", "experts")])
def test_so_does_one_with_any_optimiser_schedule_and_clip(objective, pool, name, tmp_path):
    own = {"momentum": 0.5} if name == "sgd" else {"betas": [0.8, 0.9]}
    warm = {"name": "cosine", "warmup": 2, "last": 0.1}
    rules = {"optimizer": name, "lr": 0.01, **own, "schedule": warm, "clip": {"norm": 1.0}}
    chosen = of(objective, pool)
    more: dict = {"outer": dict.fromkeys(chosen.outer, rules), "clip": {"value": 0.1}}
    if pool == "trained":
        more["students"] = {"name": pool, "outer_loop": 3, "inner_loop": 2, "batch": 4, **rules}
    state = continues_bit_identically(of(objective, pool, **more), "instance", tmp_path)
    assert sum(key.startswith("outer/") for key in state) == len(chosen.outer) * (1 if name == "sgd" else 3)


def test_the_second_player_has_everything_in_its_state(tmp_path):
    """Momentum and running statistics of the extractor included; labels of the set, and how they were agreed on."""
    chosen = of("trajectory-soft", "experts", STRATEGY, "hallucinator", "contrast")
    state = continues_bit_identically(chosen, "batch", tmp_path)
    assert any("extractor.features" in key and "running_mean" in key for key in state)
    assert {"objective/objective.lr", "objective/optimizer.0", "synthetic/targets"} <= state.keys()


def continues_bit_identically(chosen: settings.Distillation, norm: str, tmp_path: Path) -> dict[str, Tensor]:
    """Asserts it of runs resumed from files, and returns the last state."""
    unbroken = run_of(chosen, norm=norm)
    states = []
    for step in range(6):
        advanced(unbroken, 1)
        if step in (0, 2, 3):  # between changes of the network, before and after one
            artifacts.write_tensors(tmp_path / f"{step}.safetensors", unbroken.state_dict())
    for step in (0, 2, 3):
        resumed = run_of(chosen, norm=norm)
        state, _ = artifacts.read_tensors(tmp_path / f"{step}.safetensors")
        resumed.load_state_dict(state)
        assert resumed.iteration == step + 1
        states.append(advanced(resumed, 5 - step).state_dict())
    assert all(equal(state, unbroken.state_dict()) for state in states)
    return states[-1]


@every_two_and_a_set
def test_equal_names_give_equal_bits_and_others_do_not(objective, pool, beside):
    chosen = of(objective, pool, STRATEGY, *beside)
    paths = [(0, "cell", 0), (0, "cell", 0), (1, "cell", 0), (0, "other", 0), (0, "cell", 1)]
    images = [advanced(run_of(chosen, path), 3).synthetic.decode().images for path in paths]
    assert torch.equal(images[0], images[1])
    assert not any(torch.equal(images[0], other) for other in images[2:])


@every_two_and_a_set
def test_nothing_reads_or_changes_the_global_generators(objective, pool, beside):
    def state() -> list[bytes]:
        return [
            torch.get_rng_state().numpy().tobytes(),
            str(np.random.get_state()).encode(),  # noqa: NPY002 (it is the state that must stay)
            str(random.getstate()).encode(),
        ]

    def result() -> tuple[Tensor, float]:
        run = advanced(run_of(of(objective, pool, STRATEGY, *beside)), 3)
        images, targets = (tensor.detach() for tensor in run.synthetic.decode())
        architecture = settings.ConvNet(kind="convnet", depth=1, width=4)
        protocol = settings.Trained(epochs=2, batch=4, augment=STRATEGY)
        data = TrainingSet(lambda index: Batch(images[index], targets[index]), len(images))
        examination = Examination(architecture, protocol, resident(), len(SIZES), flip=True)
        (value,) = examination.accuracies(data, [Streams("evaluate")])
        return images, value

    before = state()
    first = result()
    assert state() == before
    with torch.random.fork_rng(devices=[]):
        torch.rand(1)
        second = result()
    assert torch.equal(first[0], second[0]) and first[1] == second[1]


EXACT = [name for name in OBJECTIVE if name not in ("trajectory-chunks", "trajectory-soft")]  # truncated, labels move


@pytest.mark.parametrize("objective", EXACT)
@pytest.mark.parametrize("augment", ["none", "scale"])
@every_set
def test_gradients_of_what_is_learned_agree_with_finite_differences(objective, augment, start, regulariser):
    chosen = of(objective, partner(objective), augment, start, regulariser)
    real = resident((4, 4) if chosen.whole else (4, 5), torch.float64)
    network = networks.create(
        settings.ConvNet(kind="convnet", depth=2, width=3), 2, SIDE, 2, generator("network")
    ).double()
    weights = torch.cat([p.detach().flatten() for p in network.parameters()])
    moved = 0.1 * torch.randn(weights.shape, dtype=torch.float64, generator=generator("segment"))
    kernel = Features(network.embed, chunk=5)
    student = students.Student(network, students.Segment(weights, weights + moved), kernel=kernel)
    given = context(real, 2, network, Streams("differences"), generator=gan(real, chosen.synthetic))
    synthetic = make(chosen.synthetic, given).double()
    judge = make(chosen.objective, context(real, 2, network, real_batch=3))
    if chosen.regulariser:
        judge = make(chosen.regulariser, context(real, 2, network, Streams("contrast")), judge)

    def loss():
        kernel.last = None  # the images change in place
        return next(judge.losses(synthetic, student, real, Augment(augment), Streams("same draws")))

    learned = learned_by(synthetic)
    gradients = loss().gradients(learned)
    draw = generator("direction")
    directions = [torch.randn(x.shape, dtype=torch.float64, generator=draw) for x in learned]
    step, values = 1e-7, []  # short: an unrolled student has kinks
    for sign in (1, -1):
        with torch.no_grad():
            torch._foreach_add_(learned, directions, alpha=sign * step)
        values.append(float(loss().value))
        with torch.no_grad():
            torch._foreach_sub_(learned, directions, alpha=sign * step)
    along = sum(float((gradient * direction).sum()) for gradient, direction in zip(gradients, directions, strict=True))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(along, rel=1e-5)


@every_combination
def test_a_diverging_run_names_the_learning_rate(objective, pool):
    run = advanced(run_of(of(objective, pool, lr=1e38)), 4)
    with pytest.raises(UserError, match=r"outer\.images\.lr \(1e\+38\).*: from iteration \d.* not a number") as error:
        run.check_finite()
    assert "\n" not in str(error.value)


def test_the_second_player_leaves_the_set_alone_and_follows_it():
    """Its step comes after the outer one, and moves its own weights only."""
    chosen, rng = of("distribution", start="hallucinator", regulariser="contrast"), Streams("players")
    run = run_of(chosen)
    student = run.students.next(run.synthetic, rng, 0)
    losses = run.objective.losses(run.synthetic, student, run.real, run.augment, rng)
    extractor = run.objective.extractor
    before = {name: value.clone() for name, value in extractor.state_dict().items()}
    run.outer.step(next(losses))
    assert equal(extractor.state_dict(), before)
    decoded = run.synthetic.decode().images.detach().clone()
    assert next(losses, None) is None
    weights = {name: p for name, p in extractor.named_parameters() if p.dim() > 1}  # norms cancel convolutions' biases
    assert not any(torch.equal(value, before[name]) for name, value in weights.items())
    assert torch.equal(run.synthetic.decode().images, decoded)
    assert all(parameter.grad is None for parameter in [*extractor.parameters(), *learned_by(run.synthetic)])


@every_pool
def test_students_survive_their_state_in_the_middle_of_a_network(pool):
    real = resident()
    synthetic = make(settings_of("synthetic", SYNTHETIC["pixels-real"]), context(real, 2))

    def students_of():
        chosen = settings_of("students", STUDENTS[pool])
        network = networks.build(architecture_for(chosen, "batch"), 2, SIDE, len(SIZES))
        return make(chosen, context(real, 2, network, buffer=BUFFERS["small"]))

    one, rng = students_of(), Streams("students")
    for iteration in range(2):
        one.next(synthetic, rng, iteration)
    other, same = students_of(), Streams("students")
    other.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    same.load_state_dict(rng.state_dict())
    for iteration in range(2, 6):
        a, b = one.next(synthetic, rng, iteration), other.next(synthetic, same, iteration)
        assert (a.number, a.age) == (b.number, b.age)
        if a.kernel is not None:
            assert torch.equal(*(student.kernel.own(real.batch(torch.arange(4))) for student in (a, b)))
        elif a.segment is None:
            assert equal(a.network.state_dict(), b.network.state_dict())
        else:
            assert torch.equal(torch.stack(a.segment), torch.stack(b.segment))


def test_an_objective_without_losses_cannot_be_made():
    with pytest.raises(TypeError, match="losses"):
        Objective()
