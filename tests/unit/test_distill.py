"""The loop's own promises, with the smallest parts that can carry them."""

import pytest
import torch
from torch import Tensor, nn

from ddpipe import networks, settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.distillation.outer import Outer
from ddpipe.errors import UserError
from ddpipe.objectives.distances import gradient_distance, rowwise_cosine, rowwise_magnitude
from ddpipe.objectives.gradient import GradientMatching
from ddpipe.objectives.loss import Loss
from ddpipe.randomness import Streams, generator
from ddpipe.settings.part import records
from ddpipe.students.student import Student
from ddpipe.students.trained import Trained
from ddpipe.synthetic import Batch
from ddpipe.synthetic.pixels import Pixels
from tests.contexts import context


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator("distill", shape), dtype=torch.float64)


class Nothing:
    """Students or an objective without a state."""

    def next(self, synthetic, rng, iteration):
        return Student()

    def carried(self):
        return {}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        assert not state

    def project_(self):
        pass


class Pull(Nothing):
    """Draws the images to a random target; one loss a part, as an objective that steps class by class yields them."""

    def __init__(self, parts: int = 1):
        self.parts = parts

    def losses(self, synthetic, student, real, augment, rng):
        target = torch.randn(synthetic.images.shape, generator=rng("target"))
        for part in range(self.parts):
            value = (synthetic.images - target).square().sum() * (part + 1)
            yield Loss(value.detach(), value)


def run_of(objective: Nothing, lr: float = 0.1, momentum: float = 0.5) -> Distillation:
    synthetic = Pixels(torch.zeros(2, 1, 2, 2), torch.arange(2), 2)
    outer = Outer(synthetic.groups(), {"images": settings.Optimizer(lr=lr, momentum=momentum)})
    real, _ = images_and_network()
    return Distillation(synthetic, objective, Nothing(), real, Augment("none"), outer, Streams("run"), torch.zeros(5))


def images_and_network() -> tuple[Resident, networks.Classifier]:
    images = torch.randint(256, (12, 1, 8, 8), generator=generator("images")).to(torch.uint8)
    real = Resident(images, torch.arange(12) % 3, fit(images, settings.Dataset(source="digits")))
    return real, networks.build(settings.ConvNet(kind="convnet", depth=1, width=2), 1, 8, 3)


def config(**changes) -> settings.Distillation:
    parts = {
        "synthetic": {"name": "pixels"},
        "objective": {"name": "gradient"},
        "students": {"name": "fresh"},
        "outer": {"images": {"lr": 0.1}},
        "iterations": 3,
        "real_batch": 2,
    }
    return settings.Distillation.model_validate(parts | changes)


# --- the loop ---------------------------------------------------------------------------------------------------------


def test_an_iteration_takes_one_step_for_every_loss_and_logs_their_sum():
    run = run_of(Pull(parts=2), lr=0.1, momentum=0.0)
    target = torch.randn(run.synthetic.images.shape, generator=generator("run", "target"))
    run.advance()
    first = target.square().sum()
    after_one = 0.2 * target  # 0 - 0.1 * 2 (0 - target)
    second = 2 * (after_one - target).square().sum()
    torch.testing.assert_close(run.synthetic.images.detach(), after_one - 0.4 * (after_one - target))
    torch.testing.assert_close(run.history[0], first + second)
    assert run.iteration == 1 and run.history[1:].eq(0).all()


def test_every_outer_step_is_projected_before_the_next_loss():
    """An objective that steps class by class must not see between two losses what the projections forbid."""
    run, seen = run_of(Pull(parts=3)), []

    def clamp_():
        with torch.no_grad():
            run.synthetic.images.clamp_(-0.01, 0.01)

    losses = run.objective.losses

    def looking(*parts):
        for loss in losses(*parts):
            yield loss
            seen.append(float(run.synthetic.images.detach().abs().max()))

    run.synthetic.project_ = clamp_
    run.objective.losses = looking
    run.advance()
    assert seen == pytest.approx([0.01] * 3)


@pytest.mark.parametrize(("chunk", "classes"), [(1, 1), (9, 1), (19, 1), (20, 2), (29, 2), (30, 3), (512, 3)])
def test_chunks_of_distribution_matching_count_images_of_both_sides(monkeypatch, chunk, classes):
    """A large synthetic side must not go through the network at once because the real one is small."""
    real, network = images_and_network()
    changes = {"objective": {"name": "distribution", "chunk": chunk}, "real_batch": 6}  # and 4 synthetic ones a class
    run = compose(config(**changes), context(real, 4, network, Streams("run"), real_batch=6))
    seen, embed = [], network.embed
    monkeypatch.setattr(network, "embed", lambda images: (seen.append(len(images)), embed(images))[1])
    run.advance()
    assert seen == [4 * n for n in ([classes] * (3 // classes) + [3 % classes] * (3 % classes > 0)) for _ in range(2)]


def test_the_state_is_tensors_alone_and_a_resumed_run_continues_bit_identically():
    unbroken, resumed = run_of(Pull(2)), run_of(Pull(2))
    for _ in range(2):
        unbroken.advance()
    state = {name: value.clone() for name, value in unbroken.state_dict().items()}
    assert all(isinstance(value, Tensor) for value in state.values())
    resumed.load_state_dict(state)
    for run in (unbroken, resumed):
        for _ in range(3):
            run.advance()
    states = unbroken.state_dict(), resumed.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_first_bad_iteration_is_named():
    run = run_of(Pull())
    for _ in range(3):
        run.advance()
    run.check_finite()
    run.watch.note(1, [[torch.tensor(float("inf"))], run.watched()["images"]])
    run.watch.note(2, [[torch.tensor(float("nan"))], run.watched()["images"]])
    with pytest.raises(UserError, match=r"^outer\.images\.lr \(0\.1\): from iteration 1 on the loss is not a number"):
        run.check_finite()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"students": {"name": "trained", "lr": 1e38, "outer_loop": 9}}, r"students\.lr \(1e\+38\)"),
        ({"outer": {"images": {"lr": 1e38}}}, r"outer\.images\.lr \(1e\+38\)"),
    ],
)
def test_what_lost_its_numbers_first_is_named(changes, says):
    real, network = images_and_network()
    run = compose(config(iterations=6, **changes), context(real, 2, network, Streams("run"), True))
    for _ in range(6):
        run.advance()
    with pytest.raises(UserError, match=says) as raised:
        run.check_finite()
    resumed = compose(config(iterations=6, **changes), context(real, 2, network, Streams("run"), True))
    resumed.load_state_dict(run.state_dict())
    with pytest.raises(UserError) as again:
        resumed.check_finite()
    assert str(again.value) == str(raised.value)


def test_numbers_that_an_extractor_loses_are_blamed_on_the_regulariser():
    changes = {
        "synthetic": {"name": "hallucinator", "hallucinators": 2},
        "regulariser": {"name": "contrast", "lr": 1e38},
        "outer": {"bases": {"lr": 1e-9}, "hallucinators": {"lr": 1e-9}},
    }
    real, network = images_and_network()
    run = compose(config(iterations=4, **changes), context(real, 2, network, Streams("run"), True))
    for _ in range(4):
        run.advance()
    with pytest.raises(UserError, match=r"^regulariser\.lr \(1e\+38\) or outer\.bases\.lr .* lower the first"):
        run.check_finite()


@pytest.mark.parametrize("row", [0, 11])
def test_prepared_images_are_blamed_wherever_they_are_not_finite(row):
    run = run_of(Pull())
    run.real.images[row, 0, 3, 3] = torch.nan
    run.advance()
    run.check_finite()  # nothing is lost: nobody looks
    run.synthetic.images.data.fill_(torch.inf)
    run.advance()
    with pytest.raises(UserError, match="^the prepared images hold numbers that are not finite"):
        run.check_finite()


def test_lost_numbers_are_looked_for_between_two_checkpoints(monkeypatch, project, capsys):
    done = []
    advance = Distillation.advance
    monkeypatch.setattr(Distillation, "advance", lambda run: (done.append(run.iteration), advance(run)))
    monkeypatch.setattr("ddpipe.distillation.running.LOOKED", -1.0)
    project.set("params.yaml", "run.checkpoint_every", 10_000)
    project.set("params.yaml", "methods.dm", {"outer": {"images": {"lr": 1e38}}, "iterations": 500})
    assert project.run("distill", "dm-tiny-1") == 2
    assert len(done) < 10 and "outer.images.lr" in capsys.readouterr().err


# --- the outer optimiser ----------------------------------------------------------------------------------------------


class Decoder(nn.Module):
    """Images behind a nonlinear map with two groups of learned tensors."""

    def __init__(self):
        super().__init__()
        self.codes, self.mixing = nn.Parameter(normal(4, 3)), nn.Parameter(normal(3, 5))

    def decode(self) -> Tensor:
        return torch.tanh(self.codes @ self.mixing)


def test_a_gradient_taken_up_to_the_images_reaches_what_is_learned_behind_them():
    decoder, target = Decoder(), normal(4, 5)
    learned = [decoder.codes, decoder.mixing]

    def value(images: Tensor) -> Tensor:
        return (images - target).pow(4).sum()

    whole = value(decoder.decode())
    direct = Loss(whole.detach(), whole).gradients(learned)
    images = decoder.decode()
    leaf = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    in_parts = Loss(whole.detach(), images, gradient).gradients(learned)
    for a, b in zip(direct, in_parts, strict=True):
        torch.testing.assert_close(a, b)


def test_each_group_has_its_own_rate_and_momentum():
    decoder, direction = Decoder(), normal(4, 5)
    groups = {"codes": [decoder.codes], "decoder": [decoder.mixing]}
    chosen = {"codes": settings.Optimizer(lr=0.1, momentum=0.5), "decoder": settings.Optimizer(lr=0.01)}
    outer = Outer(groups, chosen)
    codes, mixing, velocity = decoder.codes.detach().clone(), decoder.mixing.detach().clone(), 0.0
    for _ in range(3):
        value = (decoder.decode() * direction).sum()
        by_codes, by_mixing = torch.autograd.grad(value, [decoder.codes, decoder.mixing], retain_graph=True)
        outer.step(Loss(value.detach(), value))
        velocity = 0.5 * velocity + by_codes
        codes, mixing = codes - 0.1 * velocity, mixing - 0.01 * by_mixing
        torch.testing.assert_close(decoder.codes.detach(), codes)
        torch.testing.assert_close(decoder.mixing.detach(), mixing)


def test_the_schedule_of_a_group_counts_iterations():
    run = run_of(Pull(parts=2), momentum=0.0)
    steps = settings.Optimizer(lr=0.1, schedule={"name": "steps", "at": [1, 3], "factor": 0.5})
    run.outer = Outer(run.synthetic.groups(), {"images": steps})
    rates = []
    for _ in range(5):
        run.advance()
        rates.append(run.outer.optimizers["images"].lr)
    assert rates == [0.1, 0.05, 0.05, 0.025, 0.025]


def test_a_clip_of_all_groups_bounds_them_together_and_one_of_a_group_that_alone():
    """Gradients 3 and 4, of length 5 together; clipped to 1 they are 0.6 and 0.8, and the second then to 0.5."""
    groups = {name: [torch.zeros(1, requires_grad=True)] for name in ("bases", "addresses")}
    chosen = {
        "bases": settings.Optimizer(lr=1.0),
        "addresses": settings.Optimizer(lr=1.0, clip=settings.Clip(value=0.5)),
    }
    [(bases,), (addresses,)] = groups.values()
    value = (3 * bases + 4 * addresses).sum()
    Outer(groups, chosen, settings.Clip(norm=1.0)).step(Loss(value.detach(), value))
    assert float(bases.detach()) == pytest.approx(-0.6) and float(addresses.detach()) == pytest.approx(-0.5)


@pytest.mark.parametrize("names", [["codes"], ["codes", "decoder", "labels"], ["images"]])
def test_rates_for_other_groups_than_the_learned_ones_are_refused(names):
    decoder = Decoder()
    groups = {"codes": [decoder.codes], "decoder": [decoder.mixing]}
    with pytest.raises(UserError, match=r"^outer: .*name exactly these$"):
        Outer(groups, {name: settings.Optimizer(lr=0.1) for name in names})


# --- composition ------------------------------------------------------------------------------------------------------


def test_a_composition_starts_at_iteration_zero():
    real, network = images_and_network()
    run = compose(config(), context(real, 2, network, Streams("run"), True))
    assert run.iteration == 0 and run.history.tolist() == [0, 0, 0] and len(run.synthetic) == 6


def test_an_objective_that_students_cannot_serve_is_refused(monkeypatch):
    monkeypatch.setattr(records("students")["fresh"], "gives", frozenset())
    real, network = images_and_network()
    with pytest.raises(UserError, match="students: 'fresh' gives no network, which objective 'gradient' needs"):
        compose(config(), context(real, 2, network, Streams("run"), True))


def test_rates_must_fit_what_is_learned():
    real, network = images_and_network()
    with pytest.raises(UserError, match="outer: has .*'codes'"):
        compose(config(outer={"codes": {"lr": 0.1}}), context(real, 2, network, Streams("run"), True))


def test_data_that_must_not_be_mirrored_never_are():
    real, network = images_and_network()
    chosen = config(augment="flip_crop", students={"name": "trained", "augment": "flip_scale"})
    run = compose(chosen, context(real, 2, network, Streams("run"), False))
    assert run.augment.operations == ("crop",) and run.students.augment.operations == ("scale",)


# --- students ---------------------------------------------------------------------------------------------------------


def trained(**numbers) -> tuple[Trained, Pixels]:
    chosen = settings.students.trained.TrainedStudents(name="trained", **numbers)
    synthetic = Pixels(normal(6, 1, 8, 8).float(), torch.arange(3).repeat_interleave(2), 3)
    return Trained(chosen, images_and_network()[1], Augment("none")), synthetic


def weights(network: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(network.parameters()).detach().clone()


def test_a_network_serves_outer_loop_updates_and_is_never_trained_after_the_last(monkeypatch):
    from ddpipe.students import trained as module

    events: list[str] = []
    initialise, pass_over = module.initialise_, module.pass_over
    monkeypatch.setattr(module, "initialise_", lambda *a: (events.append("new"), initialise(*a))[1])
    monkeypatch.setattr(module, "pass_over", lambda *a: (events.append("pass"), pass_over(*a))[1])
    pool, synthetic = trained(outer_loop=3, inner_loop=2)
    rng = Streams("students")
    for _ in range(7):
        pool.next(synthetic, rng, 0)
        events.append("match")
    life = ["new", "match", "pass", "pass", "match", "pass", "pass", "match"]
    assert events == life + life + ["new", "match"]


@pytest.mark.parametrize(
    ("inner_loop", "passes"), [(2, [0, 2, 4, 6, 8]), ([5, 3, 1], [0, 5, 8, 9, 10]), ([4], [0, 4, 8, 12, 16])]
)
def test_a_network_may_be_trained_less_the_older_it_is(inner_loop, passes):
    pool, synthetic = trained(outer_loop=9, inner_loop=inner_loop)
    assert [pool.config.passes(served) for served in range(5)] == passes


def test_students_learn_the_set_as_it_is_now_and_leave_it_alone():
    pool, synthetic = trained(outer_loop=2, lr=0.5)
    rng = Streams("students")
    before = weights(pool.next(synthetic, rng, 0).network)
    with torch.no_grad():
        synthetic.images.neg_()
    network = images_and_network()[1]
    nn.utils.vector_to_parameters(before, network.parameters())
    loss = nn.functional.cross_entropy(network(synthetic.images), synthetic.classes)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, network.parameters())])
    torch.testing.assert_close(weights(pool.next(synthetic, rng, 0).network), before - 0.5 * gradient)
    assert synthetic.images.grad is None


def test_the_schedule_of_students_counts_the_passes_of_a_network(monkeypatch):
    from ddpipe.students import trained as module

    pool, synthetic = trained(outer_loop=3, inner_loop=2, lr=0.1, schedule={"name": "cosine", "last": 0.5})
    rates, pass_over = [], module.pass_over
    monkeypatch.setattr(module, "pass_over", lambda *a: (rates.append(a[0].optimizer.lr), pass_over(*a))[1])
    rng = Streams("students")
    for iteration in range(6):
        pool.next(synthetic, rng, iteration)
    half = [0.1, (0.75 + 0.25 * 2**-0.5) * 0.1, 0.075, (0.75 - 0.25 * 2**-0.5) * 0.1]  # a cosine from 0.1 to 0.05
    assert rates == pytest.approx(half + half)


def test_momentum_of_a_network_ends_with_it():
    pool, synthetic = trained(outer_loop=3, momentum=0.9)
    rng = Streams("students")
    for _ in range(3):
        pool.next(synthetic, rng, 0)
    assert any(bool(v.any()) for v in pool.optimizer.state_dict().values())
    pool.next(synthetic, rng, 0)
    assert not any(bool(v.any()) for v in pool.optimizer.state_dict().values())


# --- distances of gradients -------------------------------------------------------------------------------------------


def test_rowwise_cosine_counts_rows_and_skips_vectors():
    a = normal(2, 4, 2, 3, 3)  # two classes, each alone
    assert rowwise_cosine(a, 3 * a).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert rowwise_cosine(a, torch.stack([-a[0], a[1]])).tolist() == pytest.approx([8, 0], abs=1e-5)
    assert rowwise_cosine(a[..., 0, 0, 0], -a[..., 0, 0, 0]).tolist() == [0, 0]
    assert rowwise_cosine(torch.zeros_like(a), a).tolist() == [4, 4]


@pytest.mark.parametrize(
    ("networks", "updates", "scopes"),
    [(2, 9, "ccccccjjj"), (9, 2, "ccjccjccj"), (0, 9, "jjjjjjjjj"), (9, 9, "ccccccccc")],
)
def test_classes_meet_once_the_warm_up_is_over(monkeypatch, networks, updates, scopes):
    """Three updates a network: DCC's warm-up ends with a network's number, or with its age."""
    seen: list[str] = []
    for name, letter in (("one_by_one", "c"), ("jointly", "j")):
        match = getattr(GradientMatching, name)
        monkeypatch.setattr(GradientMatching, name, lambda *a, m=match, x=letter: (seen.append(x), m(*a))[1])
    warmup = {"networks": networks, "updates": updates}
    objective = {"name": "gradient", "metric": "ours", "scope": "joint", "warmup": warmup}
    real, network = images_and_network()
    chosen = config(objective=objective, students={"name": "trained", "outer_loop": 3}, iterations=9)
    run = compose(chosen, context(real, 1, network, real_batch=2))
    for _ in range(9):
        run.advance()
    assert "".join(seen) == scopes


def test_a_warm_up_must_lead_somewhere():
    with pytest.raises(ValueError, match="warmup leads from class to another scope"):
        settings.objectives.gradient.GradientMatching(name="gradient", warmup={"networks": 1, "updates": 1})


def test_equal_rows_have_no_distance_and_no_nan():
    row = torch.zeros(1, 2, 3, requires_grad=True)
    distance = rowwise_magnitude(row, torch.zeros(1, 2, 3))
    distance.backward()
    assert distance.item() == 2 and bool(row.grad.isfinite().all())  # rows of zeros have no direction


def test_epsilon_stands_beside_the_product_of_the_norms():
    a, b = torch.tensor([[1e-3, 0.0]]), torch.tensor([[1e-3, 0.0]])
    assert float(rowwise_cosine(a[None], b[None])) == pytest.approx(0.5)
    assert float(gradient_distance([a], [b], "cos")) == pytest.approx(0.5)


def test_mean_square_and_cosine_see_all_tensors_as_one():
    a, b = [normal(2, 3), normal(4)], [normal(3, 2).T, normal(4).neg()]
    joined = [torch.cat([t.flatten() for t in side]) for side in (a, b)]
    assert float(gradient_distance(a, b, "mse")) == pytest.approx(float((joined[0] - joined[1]).square().sum()))
    cosine = nn.functional.cosine_similarity(joined[0], joined[1], dim=0)
    assert float(gradient_distance(a, b, "cos")) == pytest.approx(float(1 - cosine), rel=1e-5)


def test_decoded_batches_name_their_parts():
    synthetic = Pixels(normal(2, 1, 2, 2), torch.arange(2), 2)
    batch = synthetic.decode(torch.tensor([1]))
    assert isinstance(batch, Batch) and batch.targets.tolist() == [[0, 1]] and batch.targets.dtype == torch.float64
