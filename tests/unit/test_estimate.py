"""What `ddpipe plan` counts: network passes against numbers worked out by hand, bytes against real folders."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ddpipe import config, settings
from ddpipe.errors import UserError
from ddpipe.planning import disk, show, work
from ddpipe.planning.estimate import Demand, Estimate, demands
from ddpipe.planning.known import known
from ddpipe.planning.shapes import Data, Shape, data_of
from ddpipe.planning.steps import AFTER, CACHED, RUNS, UP_TO_DATE, Step
from ddpipe.settings.work import Cell, Operation
from tests.counted import images
from tests.tracked import TRACKED
from tests.unit.small_project import Project

CIFAR = Data(Shape(3, 32, 10), 50_000, 10_000)
NETWORK = settings.ConvNet(kind="convnet")
NORMED = settings.ConvNet(kind="convnet", norm="batch")


def cell(objective: dict, ipc: int, network: settings.Network = NETWORK, data: Data = CIFAR, **change: object) -> Cell:
    numbers = {"synthetic": {"name": "pixels"}, "objective": objective, "students": {"name": "fresh"}}
    numbers |= {"outer": {"images": {"lr": 1.0}}, "iterations": 1, "sets": 1, **change}
    return Cell(settings.Distillation.model_validate(numbers), data, ipc, network)


def calls(found: work.Work, name: str) -> dict[int, int]:
    """Images a call -> calls of the operations with this name."""
    sizes: Counter[int] = Counter()
    for (operation, n), count in found.items():
        if operation.name == name and count:
            sizes[n] += count
    return dict(sizes)


@pytest.mark.parametrize(
    ("ipc", "outer_loop", "inner_loop", "real", "synthetic", "trained"),
    [(1, 1, 1, 2_560, 10, 0), (10, 10, 50, 25_600, 1_000, 45_000), (50, 50, 10, 128_000, 25_000, 245_000)],
)
def test_gradient_matching_a_network(
    ipc: int, outer_loop: int, inner_loop: int, real: int, synthetic: int, trained: int
) -> None:
    """Single-image gradients of DC for one network initialisation: arithmetic on the official loops."""
    students = {"name": "trained", "outer_loop": outer_loop, "inner_loop": inner_loop}
    found = work.distillation(cell({"name": "gradient"}, ipc, students=students, iterations=outer_loop), 50)
    assert images(found, "weight gradient") == real and images(found, "matching") == synthetic
    assert images(found, "step") == trained and calls(found, "initialise") == {1: 1}
    assert calls(found, "weight gradient") == {256: 10 * outer_loop}  # class by class
    assert calls(found, "outer step") == {10 * ipc: outer_loop}


def test_networks_that_learn_real_data_and_steps_class_by_class() -> None:
    """IDC's CIFAR-10 at IPC 10 with factor 3, so that a step sees 64 of the 90 examples of its class."""
    parts = {
        "synthetic": {"name": "multiformation", "factor": 3},
        "students": {"name": "trained", "on": "real", "outer_loop": 100, "inner_loop": 32, "batch": 64},
    }
    objective = {"name": "gradient", "metric": "mse", "weights": "convolutions", "sequential": True, "batch": 64}
    found = work.distillation(cell(objective, 10, **parts, iterations=100, real_batch=64), 50)
    assert calls(found, "step") == {64: 99 * 32} and calls(found, "initialise") == {1: 1}
    assert calls(found, "weight gradient") == calls(found, "matching") == {64: 1000}
    assert calls(found, "outer step") == {900: 1000} and calls(found, "form") == {90: 1000}


@pytest.mark.parametrize(("chunk", "again"), [(1000, 0), (999, 1000)])
def test_sets_too_large_for_one_graph_are_gone_through_twice(chunk: int, again: int) -> None:
    joint = {"name": "gradient", "scope": "joint", "warmup": None, "chunk": chunk}
    found = work.distillation(cell(joint, 100, students={"name": "fresh"}, iterations=1), 50)
    assert images(found, "matching") == 1000 and images(found, "weight gradient") == 2560 + again


def test_networks_that_are_trained_less_the_older_they_are() -> None:
    """23 iterations: two networks of ten and one of three; 50, 40, 30 and six times 10 epochs, then 50 and 40."""
    students = {"name": "trained", "outer_loop": 10, "inner_loop": [50, 40, 30, 10], "batch": 64}
    found = work.distillation(cell({"name": "gradient"}, 1, students=students, iterations=23), 50)
    assert calls(found, "step") == {10: 2 * 180 + 90} and calls(found, "initialise") == {1: 3}


def test_networks_whose_loops_end_by_a_rule() -> None:
    """23 iterations of networks that serve 10: 20 trainings of 4 epochs, a look at 80 images a class after each, and
    one after each iteration."""
    until = {"window": 4, "probe": 80, "settled": 0.1, "moved": 0.1}
    students = {"name": "trained", "outer_loop": 10, "inner_loop": 9, "batch": 64, "until": until}
    found = work.distillation(cell({"name": "gradient"}, 1, students=students, iterations=23), 50)
    assert calls(found, "step") == {10: 80} and calls(found, "initialise") == {1: 3}
    assert calls(found, "forward") == {800: 103}


@pytest.mark.parametrize(
    ("chunk", "forward", "gradient"),
    [(512, {512: 5}, {500: 1}), (300, {256: 10, 300: 1, 200: 1}, {300: 1, 200: 1}), (10**4, {2560: 1}, {500: 1})],
)
def test_feature_alignment(chunk: int, forward: dict, gradient: dict) -> None:
    """Where the set is more than a chunk it is embedded once before."""
    objective = {"name": "features", "chunk": chunk}
    found = work.distillation(cell(objective, 50, students={"name": "fresh"}, iterations=1), 50)
    assert (calls(found, "forward"), calls(found, "image gradient")) == (forward, gradient)


def test_networks_that_are_not_finished() -> None:
    """75 iterations with 10 a network: the eighth serves 5, and none is trained after its last."""
    students = {"name": "trained", "outer_loop": 10, "inner_loop": 2, "batch": 64, "augment": "color"}
    found = work.distillation(cell({"name": "gradient"}, 10, students=students, iterations=75), 50)
    assert calls(found, "initialise") == {1: 8}
    assert calls(found, "step") == {64: 67 * 2, 36: 67 * 2} == calls(found, "augment")


def test_distribution_matching() -> None:
    found = work.distillation(cell({"name": "distribution"}, 50, augment="color_crop", iterations=3, sets=2), 50)
    assert calls(found, "forward") == {256: 60} == calls(found, "gather")  # one class fits into a chunk
    assert calls(found, "image gradient") == {50: 60} and calls(found, "initialise") == {1: 6}
    assert calls(found, "siamese") == {256: 60} and calls(found, "siamese gradient") == {50: 60}


def test_distribution_matching_in_chunks() -> None:
    cifar100 = Data(Shape(3, 32, 100), 50_000, 10_000)
    found = work.distillation(cell({"name": "distribution", "chunk": 800}, 10, data=cifar100), 50)
    assert calls(found, "forward") == {3 * 256: 33, 256: 1} and calls(found, "image gradient") == {30: 33, 10: 1}
    many = work.distillation(cell({"name": "distribution", "chunk": 800}, 200, data=cifar100), 50)
    assert calls(many, "forward") == {256: 100} and calls(many, "image gradient") == {200: 100}  # both sides count
    whole = work.distillation(cell({"name": "distribution", "chunk": 800}, 10, NORMED, cifar100), 50)
    assert calls(whole, "forward") == {25_600: 1}  # batch norm: one batch, or its statistics give the classes away


def test_batch_norm_is_set_before_gradients_are_matched() -> None:
    found = work.distillation(cell({"name": "gradient"}, 1, NORMED, iterations=4), 50)
    assert calls(found, "forward") == {160: 4}  # 16 images of each of ten classes


HALLUCINATORS = {
    "synthetic": {"name": "hallucinator", "hallucinators": 5},
    "outer": {"bases": {"lr": 1.0}, "hallucinators": {"lr": 1.0}},
}


def test_trajectory_matching() -> None:
    objective = {"name": "trajectory", "steps": 30, "lr": 0.01, "smallest_lr": 0.001}
    students = {"name": "experts", "starts": 20, "span": 2}
    numbers = {"students": students, "augment": "color_crop", "iterations": 4, "sets": 2}
    numbers["outer"] = {"images": {"lr": 1.0}, "lr": {"lr": 1.0}}
    found = work.distillation(cell(objective, 10, **numbers), 50)
    once_forward_once_back = {100: 2 * 4 * 30}
    assert calls(found, "flat gradient") == once_forward_once_back == calls(found, "pull back")
    assert calls(found, "augment gradient") == once_forward_once_back and not calls(found, "hallucinate")
    some = work.distillation(cell(objective | {"batch": 25, "soft_labels": True}, 10, **numbers), 50)
    assert calls(some, "pull back") == {25: 2 * 4 * 30} and calls(some, "forward") == {100: 2 * 4}


def test_hallucinators_and_their_second_player() -> None:
    """A step sees every base in one style, a class of another objective in all of them."""
    objective = {"name": "trajectory", "steps": 30, "lr": 0.01, "smallest_lr": 0.001}
    students = {"name": "experts", "starts": 20, "span": 2}
    player = {"name": "contrast", "weight": 0.1, "pull": 0.1, "supervised": 0.1, "temperature": 0.07, "lr": 0.001}
    numbers = HALLUCINATORS | {"students": students, "regulariser": player, "iterations": 4}
    numbers["outer"] = HALLUCINATORS["outer"] | {"lr": {"lr": 1.0}}
    found = work.distillation(cell(objective, 10, **numbers), 50)
    assert calls(found, "pull back") == {100: 4 * 30} and calls(found, "hallucinate") == {100: 4 * (30 + 2)}
    assert calls(found, "image gradient") == {200: 4} == calls(found, "weight gradient")
    by_class = work.distillation(cell({"name": "distribution"}, 10, **HALLUCINATORS), 50)
    assert calls(by_class, "hallucinate") == {10: 10 * 5} and calls(by_class, "image gradient") == {50: 10}


def test_a_class_has_fewer_images_than_the_real_batch() -> None:
    small = Data(Shape(1, 8, 10), 300, 100)
    found = work.distillation(cell({"name": "gradient"}, 1, data=small, real_batch=64), 50)
    assert calls(found, "weight gradient") == {30: 10}


def test_checkpoints_are_written() -> None:
    found = work.distillation(cell({"name": "distribution"}, 1, iterations=101, sets=3), 50)
    bytes_of_a_set = 10 * 3 * 32 * 32 * 4
    assert calls(found, "write") == {2 * bytes_of_a_set: 3 * 3, bytes_of_a_set: 3 * 2}  # with momentum; the end


def test_evaluation() -> None:
    rules = settings.Trained(epochs=300, extra_epoch=True, batch=256, networks=20, augment="crop")
    found = work.evaluation(rules, 5, 500, CIFAR, NETWORK, 1)
    passes = 5 * 20 * 301
    assert calls(found, "step") == {256: passes, 244: passes} == calls(found, "augment")
    assert calls(found, "initialise") == {1: 100}
    assert calls(found, "forward") == {1024: 900, 784: 100}  # one look of each network at 10,000 test images
    limited = work.evaluation(rules.model_copy(update={"sets": 2}), 5, 500, CIFAR, NETWORK, 1)
    assert images(limited, "step") == 2 * 20 * 301 * 500


def test_networks_that_are_trained_together() -> None:
    rules = settings.Trained(epochs=10, batch=256, networks=5, precision="bfloat16")
    found = work.evaluation(rules, 1, 100, CIFAR, NETWORK, 2)
    pair, single = (Operation("step", CIFAR.shape, NETWORK, "bfloat16", n) for n in (2, 1))
    assert found[pair, 100] == 20 and found[single, 100] == 10
    assert calls(found, "initialise") == {1: 5} and calls(found, "gather")[100] == 50


def test_selection() -> None:
    herding, random = (settings.Selection(rule=rule, sets=3) for rule in ("herding", "random"))
    found = work.selection(herding, CIFAR, 500, NETWORK)
    assert calls(found, "forward") == {1024: 3 * 48, 848: 3}
    assert calls(found, "select first") == {5000: 3 * 10} and calls(found, "select next") == {5000: 3 * 490}
    assert {operation.name for operation, _ in work.selection(random, CIFAR, 500, NETWORK)} == {"write"}


def test_experts_and_a_process() -> None:
    buffer = settings.Experts(data="cifar10", network="convnet3", networks=4, epochs=2, batch=256)
    found = work.experts(buffer, CIFAR, NETWORK, 1)
    assert calls(found, "step") == {256: 4 * 2 * 195, 80: 4 * 2}
    flat = buffer.model_copy(update={"flat": settings.Flat(rho=0.01)})
    assert calls(work.experts(flat, CIFAR, NETWORK, 1), "step") == {256: 2 * 4 * 2 * 195, 80: 2 * 4 * 2}
    three_and_one = work.experts(flat, CIFAR, NETWORK, 3)
    for size in (3, 1):
        step = Operation("step", CIFAR.shape, NETWORK, "float32", size)
        assert three_and_one[step, 256] == 2 * 2 * 195
    assert calls(three_and_one, "gather") == calls(found, "gather")
    assert calls(work.process(CIFAR), "load") == {60_000: 1} and not calls(work.process(CIFAR), "whiten")
    whitened = Data(CIFAR.shape, CIFAR.train, CIFAR.test, whitened=True)
    assert calls(work.process(whitened), "whiten") == {60_000: 1}


def test_generators_and_who_decodes_by_them() -> None:
    step = settings.Optimizer(optimizer="adam", lr=0.1)
    inversion = settings.Inversion(optimizer="adam", lr=0.1, steps=7, batch=20_000)
    chosen = settings.Generators(
        **{"data": "cifar10", "buffer": "cifar10", "steps": 5, "critic_steps": 4, "batch": 50},
        **{"generator": step, "critic": step, "inversion": inversion},
    )
    found = work.generators(chosen, CIFAR, NETWORK)
    assert calls(found, "judge") == {50: 20} and calls(found, "make") == {50: 5}
    assert calls(found, "imagine") == calls(found, "image gradient") == {20_000: 14, 10_000: 7}
    assert disk.generators(chosen, CIFAR) > 4 * (4_304_387 + 50_000 * 128)
    project = config.load(TRACKED)
    [demand], _ = demands(project, [Step("distill@itgan-digits-all", RUNS)])
    cell = project.resolved("itgan-digits-all")
    assert images(demand.work, "imagine") == 2 * 10 * 32 * cell.iterations, "the objective and the term beside it"


def test_every_row_and_evaluation_of_the_project_is_counted() -> None:
    project = config.load(TRACKED)
    steps = [Step(f"prepare@{key}", RUNS) for key in project.params.datasets]
    steps += [Step(f"experts@{key}", RUNS) for key in project.params.experts]
    steps += [Step(f"generators@{key}", RUNS) for key in project.params.generators]
    steps += [Step(f"{group}@{key}", RUNS) for group in ("distill", "evaluate") for key in project.rows]
    steps += [Step(f"further@{key}", RUNS) for key in project.evaluations]
    steps += [Step(f"course@{key}", RUNS) for key in project.courses]
    found, unknown = demands(project, steps)
    own = {key for key, data in project.params.datasets.items() if data.source in ("npz", "folder")}
    assert all(any(name in sentence for name in own) for sentence in unknown)
    cells = [key for key, row in project.rows.items() if row.data not in own]
    assert len([d for d in found if d.step.group == "distill"]) >= len(cells) > 100
    assert all(d.bytes > 0 and (d.work or d.step.group == "prepare") for d in found)


# --- datasets ---------------------------------------------------------------------------------------------------------


def test_sizes_of_published_datasets(tmp_path: Path) -> None:
    project = config.load(TRACKED)
    elsewhere = config.Config(tmp_path, project.params, {}, {}, {}, {})  # where nothing is prepared
    assert data_of(elsewhere, "cifar10") == CIFAR and CIFAR.per_class == 5000
    assert data_of(elsewhere, "cifar10-zca") == Data(CIFAR.shape, 50_000, 10_000, whitened=True)
    assert data_of(elsewhere, "imagenet64") == Data(Shape(3, 64, 1000), 1_281_167, 50_000)
    assert data_of(elsewhere, "cifar10-jpeg75") is None
    five = project.params.datasets["tinyimagenet"].model_copy(update={"classes": tuple("abcde")})
    elsewhere.params.datasets["tinyimagenet"] = five
    assert data_of(elsewhere, "tinyimagenet") == Data(Shape(3, 64, 5), 2500, 250)
    with pytest.raises(UserError, match="datasets.cifar11: a row uses it, but params.yaml has no such entry"):
        data_of(elsewhere, "cifar11")


def test_the_size_of_prepared_data(project: Project) -> None:
    found = config.load(project.root)
    assert data_of(found, "tiny") == Data(Shape(1, 8, 3), 29, 12)
    (project.root / "data/prepared/tiny/data.json").write_text('{"shape": [1, 8, 8]}')
    with pytest.raises(UserError, match=r"data.json carries no seal .*prepare@tiny"):
        data_of(found, "tiny")


# --- the small project ------------------------------------------------------------------------------------------------


def test_only_what_would_run_is_counted(project: Project) -> None:
    found = config.load(project.root)
    names = ("prepare@tiny", "experts@tiny", "distill@dm-tiny-1", "evaluate@dm-tiny-1", "report@tiny", "page")
    assert demands(found, [Step(name, state) for name in names for state in (UP_TO_DATE, CACHED)]) == ([], [])
    some, unknown = demands(found, [Step(name, state) for name, state in zip(names, (RUNS, AFTER) * 3, strict=True)])
    assert [demand.step.name for demand in some] == list(names[:4]) and not unknown
    [further], _ = demands(found, [Step("further@dm-tiny-1-other-again", AFTER)])
    assert further.method == "dm" and images(further.work, "step") == 3  # three images, one pass, one network


def test_what_is_not_prepared_is_named_once(project: Project) -> None:
    (project.root / "data/prepared/tiny/data.json").unlink()
    names = ("prepare@tiny", "experts@tiny", "distill@dm-tiny-1", "distill@random-tiny-1", "evaluate@dm-tiny-1")
    some, unknown = demands(config.load(project.root), [Step(name, RUNS) for name in names])
    assert not some and unknown == ["the size of tiny is known once it is prepared: dvc repro prepare@tiny"]


def test_networks_are_trained_together_where_the_run_says_so(project: Project) -> None:
    project.set("params.yaml", "protocols.quick.networks", 6)

    def together(stacked: bool) -> set[int]:
        [demand], _ = demands(config.load(project.root), [Step("evaluate@dm-tiny-1", RUNS)], stacked)
        return {operation.together for operation, _ in demand.work if operation.name == "step"}

    assert together(False) == {1} and together(True) == {6}
    project.set("params.yaml", "run.together", 4)
    assert together(False) == together(True) == {4, 2}


@pytest.mark.parametrize("whitening", [None, {}])
def test_bytes_are_those_of_real_folders(project: Project, whitening: dict | None) -> None:
    """Large enough that the JSON files beside the tensors do not matter."""
    rng = np.random.default_rng(0)
    shape = (32, 32, 3) if whitening is None else (16, 16, 3)
    project.npz(
        train_images=rng.integers(0, 256, (300, *shape), dtype=np.uint8),
        train_labels=np.arange(300) % 3,
        test_images=rng.integers(0, 256, (30, *shape), dtype=np.uint8),
        test_labels=np.arange(30) % 3,
    )
    project.set("params.yaml", "datasets.tiny.standardise", "biased")
    project.set("params.yaml", "datasets.tiny.whitening", whitening)
    project.set(
        "params.yaml",
        "networks.small",
        {"kind": "convnet", "depth": 2, "width": 64, "norm": "instance", "initialisation": "default"},
    )
    project.set("params.yaml", "experts.tiny.networks", 2)
    project.set("ddpipe/methods/dm.yaml", "grid.dm-tiny-1.ipc", 5)
    project.edit(
        "ddpipe/methods/dm.yaml",
        lambda content: content["grid"].update({"dm-tiny-5": content["grid"].pop("dm-tiny-1")}),
    )
    project.edit("params.yaml", lambda content: content.update(evaluations={}))
    stages = ("prepare@tiny", "experts@tiny", "distill@dm-tiny-5", "distill@random-tiny-1")
    for stage in stages:
        assert project.run(*stage.split("@")) == 0
    found, _ = demands(config.load(project.root), [Step(stage, RUNS) for stage in stages])
    for demand, folder in zip(
        found, ("prepared/tiny", "experts/tiny", "distilled/dm-tiny-5", "distilled/random-tiny-1"), strict=True
    ):
        real = sum(path.stat().st_size for path in (project.root / "data" / folder).iterdir())
        assert demand.bytes == pytest.approx(real, rel=0.03, abs=600), folder


def test_bytes_of_results(project: Project) -> None:
    found, _ = demands(config.load(project.root), [Step("evaluate@dm-tiny-1", RUNS)])
    files = (project.root / "data/results/tiny").glob("dm-tiny-1.[lps]*")
    real = sum(path.stat().st_size for path in files if ".again." not in path.name)
    assert real / 3 < found[0].bytes < 3 * real


def test_parameters_of_a_network() -> None:
    assert disk.parameters(NETWORK, CIFAR.shape) == 320_010  # the survey's ConvNet on CIFAR-10


# --- what is printed --------------------------------------------------------------------------------------------------


def test_units() -> None:
    assert [show.duration(s) for s in (0.04, 12.3, 60, 600, 3599, 5400, 360_000)] == [
        *("0.0 s", "12 s", "1.0 min", "10 min", "60 min", "1.5 h", "100 h")
    ]
    assert [show.amount(n) for n in (12, 1200, 25_000_000, 3.2e9)] == ["12 B", "1.2 kB", "25 MB", "3.2 GB"]


def test_the_table(project: Project) -> None:
    found = config.load(project.root)
    passes: work.Work = Counter({(Operation("process"), 1): 1})

    def one(name: str, method: str, seconds: float | None, size: int) -> Estimate:
        return Estimate(Demand(Step(name, RUNS), "tiny", method, passes, size), seconds)

    estimates = [
        one("experts@tiny", "", 30.0, 1000),
        one("distill@dm-tiny-1", "dm", 7200.0, 2_000_000),
        one("distill@dc-tiny-1", "dc", None, 500),
        one("evaluate@dm-tiny-1", "dm", 90.0, 10),
    ]
    text = show.costs(found, estimates, ["the size of x is known once it is prepared"], "a device", cells=True)
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "cost of what would run, on a device:",
        "stages device time disk",
        "experts 1 30 s 1.0 kB",
        "distill 2 2.0 h 2.0 MB",
        "evaluate 1 1.5 min 10 B",
        "total 4 2.0 h 2.0 MB",
        "most expensive: distill@dm-tiny-1 2.0 h, evaluate@dm-tiny-1 1.5 min, experts@tiny 30 s",
        "tiny total",
        "dm 2.0 h 2.0 h",
        "dc - -",
        "total 2.0 h 2.0 h",
        "not calibrated, and left out of the times: 1 stages",
        "left out: the size of x is known once it is prepared",
        "disk is that of outputs; DVC's cache and data/checkpoints hold further copies of most",
    ]
    assert "dm-tiny-1 2.0 h, " in show.costs(found, estimates, [], "a device") and "tiny  " not in show.costs(
        found, estimates, [], "a device"
    )


def test_steps_replays_and_ridge_regressions() -> None:
    """A training of the paced kind, what a replay's settings tell, and features of the whole set in place of steps."""
    stepped = settings.Trained(steps=5, batch=200, networks=2, augment="crop")
    found = work.evaluation(stepped, 1, 500, CIFAR, NETWORK, 1)
    assert found is not None and calls(found, "step") == {200: 2 * 4, 100: 2} == calls(found, "augment")
    replay = settings.Replay(kind="replay", networks=2)
    assert work.evaluation(replay, 1, 500, CIFAR, NETWORK, 2) is None
    found = work.evaluation(replay, 3, 500, CIFAR, NETWORK, 2, {"T": 30, "S": 10})
    assert found is not None and calls(found, "step") == {50: 3 * 30} and calls(found, "initialise") == {1: 3 * 2}
    ridge = settings.Ridge(kind="ridge", networks=2)
    found = work.evaluation(ridge, 1, 500, CIFAR, NETWORK, 1)
    assert found is not None and calls(found, "step") == {}
    assert calls(found, "forward") == {500: 2, 1024: 2 * 9, 784: 2}
    trained = settings.Ridge(kind="ridge", networks=2, training=settings.SetTraining(epochs=3, batch=500))
    found = work.evaluation(trained, 1, 500, CIFAR, NETWORK, 1)
    assert found is not None and calls(found, "step") == {500: 6}


def test_steps_that_are_learned_with_a_set() -> None:
    """About so many as its students guess, until a set says how many."""
    rules = settings.Trained(learned_steps=True, subsets=True, batch=50, networks=2)
    assert work.evaluation(rules, 1, 500, CIFAR, NETWORK, 1) is None
    found = work.evaluation(rules, 3, 20, CIFAR, NETWORK, 1, {"steps": 7})
    assert found is not None and calls(found, "step") == {20: 3 * 2 * 7}


def test_what_is_known_of_a_set(project: Project) -> None:
    labels = {"scale": "one-hot", "learned": True, "init": "uniform"}
    adam = {"optimizer": "adam", "lr": 0.001, "betas": [0.9, 0.999]}
    parts = {
        "synthetic": {"name": "real"},
        "objective": {"name": "lookahead", "batch": 16, "subset": 2, "lr": 0.01},
        "students": {"name": "restarted", **adam, "patience": 3},
        "outer": {"images": None, "targets": adam},
    }
    project.set("params.yaml", "methods.dm", parts | {"labels": labels, "real_batch": None, "iterations": 5})
    (project.root / "data/distilled/dm-tiny-1/0.safetensors").unlink()
    assert known(config.load(project.root), "dm-tiny-1") == {"steps": 30}
    assert project.run("distill", "dm-tiny-1") == 0
    assert known(config.load(project.root), "dm-tiny-1") == {"steps": 5}, "none was replaced: those of the present one"
