"""`ddpipe check`: good projects pass, and what it knows agrees with the code. Its sentences: test_errors.py."""

import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from ddpipe import augmentation, config, networks, settings
from ddpipe.augmentation import older, siamese
from ddpipe.checks.batches import lone
from ddpipe.checks.classes import SMALLEST, class_sizes
from ddpipe.checks.data import misfit
from ddpipe.checks.project import problems
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.readers import digits
from ddpipe.errors import UserError
from ddpipe.randomness import generator
from ddpipe.settings import strategy
from tests.tracked import TRACKED
from tests.unit.small_project import Project, arrays

NORMS: tuple[Literal["instance", "batch"], ...] = ("instance", "batch")
BLOCKS: tuple[Literal["basic", "bottleneck"], ...] = ("basic", "bottleneck")
DOWNSAMPLING: tuple[Literal["stride", "avgpool"], ...] = ("stride", "avgpool")


def test_the_project_itself() -> None:
    assert problems(config.load(TRACKED)) == []


def test_a_good_project(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.run("check") == 0
    assert capsys.readouterr().out == "checked 4 rows, 3 further evaluations, 4 recipes: no mistake\n"


def test_it_does_not_load_torch() -> None:
    script = (
        "from ddpipe import config; from ddpipe.checks import project; import ddpipe.planning.explain, sys; "
        "project.problems(config.load()); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], cwd=TRACKED, check=True, capture_output=True, text=True)
    assert "ddpipe.checks.project" in done.stdout.split() and "torch" not in done.stdout.split()


POOLED = ((), (2,), (1, 3), (1, 2, 3, 4))
CONVNETS = [
    settings.ConvNet(kind="convnet", depth=depth, width=2, first_padding=padding, prepended=prepended)
    for depth, padding, prepended in product(range(1, 6), (None, 1, 3), (False, True))
]
OTHERS = [
    settings.ConvNet(kind="convnet", depth=2, width=(2, 4)),
    *(settings.ResNet(kind="resnet", blocks=(1, 1, 1, 1), widths=(2, 2, 2, 2), downsampling=d) for d in DOWNSAMPLING),
    settings.ResNet(kind="resnet", blocks=(1,), widths=(2,), downsampling="avgpool"),
    *(
        settings.ResNet(kind="resnet", block=b, blocks=(1,) * n, widths=(2,) * n, downsampling=d, norm=norm)
        for b, n, d, norm in product(BLOCKS, (1, 2, 4), DOWNSAMPLING, NORMS)
    ),
    *(
        settings.DenseNet(kind="densenet", blocks=(1,) * blocks, growth=2, norm=norm)
        for blocks, norm in product((1, 3, 4, 5), NORMS)
    ),
    settings.LeNet(kind="lenet"),
    *(settings.Plain(kind="plain", layer="convolution", depth=4, width=8, pooled=pooled) for pooled in POOLED),
    settings.Plain(kind="plain", layer="convolution", depth=2, width=8, pooled=(2,), readout="mean"),
    settings.Plain(kind="plain", layer="dense", depth=2, width=8),
    settings.AlexNet(kind="alexnet"),
]


@pytest.mark.parametrize("chosen", [*CONVNETS, *OTHERS], ids=repr)
def test_a_misfit_is_judged_as_the_network_does(chosen: settings.Network) -> None:
    for resolution in (3, 4, 7, 8, 15, 16, 28, 32, 33):
        try:
            networks.build(chosen, 1, resolution, 2)
        except UserError:
            assert misfit(chosen, resolution), resolution
        else:
            assert misfit(chosen, resolution) is None, resolution


@pytest.mark.parametrize("chosen", [*CONVNETS, *OTHERS], ids=repr)
def test_logits_of_every_network_that_is_not_refused_depend_on_the_image(chosen: settings.Network) -> None:
    """Batch norm in training, and one image alone only where `lone` says nothing against it."""
    for resolution in (2, 3, 4, 7, 8, 15, 16, 28):
        if misfit(chosen, resolution):
            continue
        network = networks.create(chosen, 1, resolution, 3, generator("fresh")).double().train()
        images = torch.randn(3, 1, resolution, resolution, generator=generator("images"), dtype=torch.float64)
        logits = network(images).detach()
        assert (logits[1:] - logits[0]).abs().max() > 1e-9, resolution
        if lone(chosen, resolution, 7, 3):
            with pytest.raises(ValueError, match="more than 1 value"):
                network(images[:1])
        else:
            network(images[:1])


@pytest.mark.parametrize(("n", "batch"), [(1297, 81), (9, 8), (9, 1), (7, 2), (7, 3), (2, 1)])
def test_the_batch_that_is_advised_leaves_no_image_alone(n: int, batch: int) -> None:
    network = settings.ResNet(kind="resnet", blocks=(1,) * 4, widths=(2,) * 4, norm="batch")
    said = lone(network, 8, n, batch)
    assert said and said.startswith(f"batch: {batch} ")
    assert lone(network, 8, n, int(said.rpartition(" ")[2])) is None
    assert lone(network, 9, n, batch) is None, "maps of 2x2 have a variance"


def test_further_networks_are_judged_too(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.set("params.yaml", "networks.other", {"kind": "lenet", "initialisation": "default"})
    assert project.run("check") == 2
    assert (
        "networks.other.kind: lenet takes images of 28x28 or 32x32, not the 8x8 images of tiny; use another network"
        in (capsys.readouterr().err)
    )


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("also", ["quikc"], "dm.yaml:dm.also: 'quikc' is not under protocols:; did you mean 'quick'?"),
        ("tables", {3: "quikc"}, "dm.yaml:dm.tables.3: 'quikc' is not under protocols:; did you mean 'quick'?"),
        ("tables", {5: "quick"}, "dm.yaml:dm.tables.5: the survey's tables are 1 to 4; name one of them"),
        (
            "unverified",
            {"tiny-2": "Why."},
            "dm.yaml:dm.unverified: 'tiny-2' is not under ddpipe/methods/dm.yaml:dm.cells, nor all, nor table<n>",
        ),
        (
            "unverified",
            {"table3": "Why."},
            "dm.yaml:dm.unverified: 'table3' is not under ddpipe/methods/dm.yaml:dm.cells",
        ),
    ],
)
def test_what_a_recipe_says_about_the_survey(
    key: str, value: dict, says: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.set("ddpipe/methods/dm.yaml", f"dm.{key}", value)
    assert project.run("check") == 2
    assert says in capsys.readouterr().err


def test_a_recipe_may_name_its_tables_and_unverified_cells(project: Project) -> None:
    project.set("ddpipe/methods/dm.yaml", "dm.tables", {3: "quick", 4: "again"})
    project.set(
        "ddpipe/methods/dm.yaml",
        "dm.unverified",
        {"tiny-1": "Why.", "default": "Why.", "all": "Why.", "table4": "Why."},
    )
    assert project.run("check") == 0


@pytest.mark.parametrize("cell", ["random-tiny-1", "dm-tiny-1"])
def test_sets_without_a_learned_step_size(cell: str, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    mtt = {"lr": None, "learned_lr": True}
    project.edit(
        "params.yaml", lambda p: p["protocols"].update(mtt=p["protocols"]["again"] | {"exceptions": {"tiny": mtt}})
    )
    row = {"cell": cell, "dataset": "tiny", "data": "tiny", "network": "small", "protocol": "mtt"}
    project.set("params.yaml", f"evaluations.{cell}-small-mtt", row)
    assert project.run("check") == 2
    said = f"evaluations.{cell}-small-mtt.protocol: 'mtt' needs the hint lr (one number) of the set, but "
    assert f"{said}{cell.partition('-')[0]!r} leaves none; name another protocol" in capsys.readouterr().err
    project.set(f"ddpipe/methods/{cell.partition('-')[0]}.yaml", f"grid.{cell}.protocol", "mtt")
    project.set("params.yaml", "evaluations", {})
    assert project.run("check") == 2
    assert f"grid.{cell}.protocol: 'mtt' needs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "key", "value", "says"),
    [
        ("params.yaml", "protocols.again.augment", "flip", 'protocols.again.augment: augment "flip" is empty'),
        ("params.yaml", "experts.tiny.augment", "flip", 'experts.tiny.augment: augment "flip" is empty'),
        ("ddpipe/methods/dm.yaml", "dm.parts.augment", "flip", 'methods.dm.augment: augment "flip" is empty'),
        ("ddpipe/methods/dc.yaml", "dc.parts.students.augment", "idc:flip", "methods.dc.students.augment"),
        ("params.yaml", "protocols.again.augment", "color_color", 'names "color" twice'),
        ("params.yaml", "experts.tiny.epochs", 10**30, "experts.tiny.epochs: must be less than or equal to 1000000000"),
        ("params.yaml", "experts.tiny.lr", 1e-60, "experts.tiny.lr: must be at least 1e-37"),
        ("params.yaml", "networks.small", {"kind": "densenet", "growth": 2, "blocks": []}, "networks.small.blocks"),
        ("params.yaml", "datasets.tiny.resolution", 8, "datasets.tiny: resolution is not for source npz: save images"),
        ("params.yaml", "datasets.d", {"source": "digits", "grey": True}, "grey is for source folder and npz only"),
        ("params.yaml", "datasets.d", {"source": "npz", "path": "x"}, "datasets.d.flip: say whether a mirrored image"),
        ("params.yaml", "datasets.tiny.flip", "no", "datasets.tiny.flip: must be a valid boolean, not 'no'"),
        ("params.yaml", "methods.dm", {"base": ["dm"]}, "methods.dm: base must be the name of a recipe"),
        ("params.yaml", "reports.tiny", {"dpi": 3}, "reports.tiny.dpi: unknown key"),
        ("ddpipe/methods/herding.yaml", "herding.parts.sets", 2, "experts.tiny.networks: 1, but herding chooses"),
        ("params.yaml", "protocols.quick.exceptions.tiny", {"exceptions": {}}, "exceptions.tiny.exceptions"),
    ],
)  # fmt: skip
def test_what_would_fail_or_mislead_later(
    file: str, key: str, value: object, says: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.set(file, key, value)
    assert project.run("check") == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "key",
    ["lr", "momentum", "weight_decay", "batch", "drop", "drop_resets_momentum", "networks", "augment", "extra_epoch"],
)
def test_a_protocol_states_its_numbers(key: str, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.edit("params.yaml", lambda params: params["protocols"]["again"].pop(key))
    assert project.run("evaluate", "random-tiny-1") == 2
    assert f"protocols.again.{key}: this key is missing; add it" in capsys.readouterr().err


def test_sources_of_digits_never_flip_unless_told() -> None:
    assert not settings.Dataset(source="mnist").flip and settings.Dataset(source="mnist", flip=True).flip
    assert settings.Dataset(source="cifar10").flip


def test_smallest_class_of_digits_and_of_published_rows(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    source = digits.read("digits", settings.Dataset(source="digits"), project.root)
    assert int(source.train.labels.bincount().min()) == SMALLEST["digits"]

    def large(content: dict) -> None:
        row = content["grid"]["random-tiny-1"] | {"data": "d", "needs": "data/prepared/d", "ipc": 129}
        content["grid"]["random-tiny-129"] = row

    project.set("params.yaml", "datasets.d", {"source": "digits"})
    project.edit("ddpipe/methods/random.yaml", large)
    assert project.run("check") == 2
    assert "grid.random-tiny-129.ipc: 129, but the smallest class of d has 128" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("datasets.tiny.classes", ["0"], "datasets.tiny: classes must be at least two, and different from each other"),
        ("datasets.tiny.classes", ["0", "1", "0"], "datasets.tiny: classes must be at least two, and different"),
        ("networks.small.width", [4, 8], "networks.small: width must be one number, or one a block: 1, not 2"),
        (
            "networks.wide",
            {
                "kind": "resnet",
                "block": "basic",
                "blocks": [1, 1],
                "widths": [2],
                "norm": "batch",
                "downsampling": "stride",
                "initialisation": "he",
            },
            "networks.wide: blocks and widths must have one",
        ),
        (
            "networks.lenet",
            {"kind": "lenet", "initialisation": "he"},
            "networks.lenet.initialisation: must be 'default'",
        ),
        (
            "networks.lenet",
            {"kind": "lenet", "width": 3},
            "networks.lenet.width: unknown key (kind is 'lenet'); known are",
        ),
    ],
)
def test_lists_are_as_long_as_they_must_be(
    key: str, value: object, says: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.set("params.yaml", key, value)
    assert project.run("check") == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mean": [0.5], "std": [0.1, 0.1]}, "mean and std must have one number a channel each"),
        ({"mean": [], "std": []}, "mean and std must have one number a channel each"),
        (
            {"source": "cifar10", "path": None, "mean": [0.5], "std": [0.1]},
            "mean and std must have one number a channel: 3",
        ),
        ({"standardise": "biased", "mean": [0.5]}, "mean and std must be set exactly when standardise is 'given'"),
        ({"standardise": "none"}, "datasets.tiny.whitening: say how pixels are preprocessed"),
        (
            {"standardise": "none", "whitening": {"regularisation": 0.1}},
            "datasets.tiny.whitening.relative: this key is",
        ),
        ({"whitening": {}}, "datasets.tiny.standardise: say what comes before"),
    ],
)
def test_preprocessing_that_is_not_said_whole(
    change: dict, says: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    change = {"standardise": "given"} | change if "mean" in change else change
    project.edit("params.yaml", lambda params: params["datasets"]["tiny"].update(change))
    assert project.run("check") == 2
    assert says in capsys.readouterr().err


def test_whole_has_one_set(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def whole(content: dict) -> None:
        content["random"]["parts"] |= {"rule": "whole", "sets": 2}
        content["grid"] = {"random-tiny-all": content["grid"]["random-tiny-1"] | {"ipc": "all"}}

    project.edit("params.yaml", lambda content: content["evaluations"].pop("random-tiny-1-other-again"))
    project.edit("ddpipe/methods/random.yaml", whole)
    assert project.run("check") == 2
    assert "methods.random (tiny-1): sets: 2, but all are the same images; set it to 1" in capsys.readouterr().err
    project.set("ddpipe/methods/random.yaml", "random.parts.sets", 1)
    assert project.run("check") == 0


HALLUCINATOR = {"name": "hallucinator", "hallucinators": 2}


def hallucinate(project: Project, **synthetic: object) -> None:
    """dm with bases and hallucinators."""

    def change(content: dict) -> None:
        groups = {key: {"lr": 0.1, "momentum": 0.0} for key in ("bases", "hallucinators")}
        content["dm"]["parts"] |= {"synthetic": HALLUCINATOR | synthetic, "outer": groups, "excess": False}

    project.edit("ddpipe/methods/dm.yaml", change)


def test_more_bases_than_the_smallest_class_has_images(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    hallucinate(project, bases=6)
    project.set("ddpipe/methods/dm.yaml", "dm.parts.excess", True)
    assert project.run("check") == 2
    assert "methods.dm.synthetic.bases (dm-tiny-1): 6, but the smallest class of tiny" in capsys.readouterr().err
    project.set("ddpipe/methods/dm.yaml", "dm.parts.synthetic.bases", 5)
    assert project.run("check") == 0


def test_more_blocks_than_a_class_has_images(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def unroll(content: dict) -> None:
        objective = {"name": "unroll", "steps": 3, "blocks": 3, "rates": "fixed", "lr": 0.01, "gradient": "exact"}
        content["dm"]["parts"]["objective"] = objective | {"momentum": None, "augment": "none"}

    project.edit("ddpipe/methods/dm.yaml", unroll)
    assert project.run("check") == 2
    said = capsys.readouterr().err
    assert "methods.dm.objective.blocks: 1 examples of a class do not divide into 3 blocks; set it to 1" in said
    project.set("ddpipe/methods/dm.yaml", "dm.parts.objective.blocks", 1)
    assert project.run("check") == 0


def test_a_set_that_stores_more_than_its_ipc(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    hallucinate(project)
    assert project.run("check") == 2
    assert "methods.dm.synthetic (dm-tiny-1): stores 376 floats, worth 1.96 images per class" in capsys.readouterr().err
    project.set("ddpipe/methods/dm.yaml", "dm.parts.excess", True)
    assert project.run("check") == 0


@pytest.mark.parametrize(
    ("file", "key", "value", "says"),
    [
        ("params.yaml", "protocols.again.learned_lr", True, "protocols.again.lr: learned_lr takes its place"),
        ("params.yaml", "protocols.again.drop", "never", "protocols.again.drop_resets_momentum: drop is never"),
        ("params.yaml", "experts.tiny.drop", "never", "experts.tiny.drop_resets_momentum: drop is never"),
        ("params.yaml", "protocols.quick.exceptions.tiny", {"drop": "never"}, "exceptions.tiny.drop_resets_momentum"),
        ("ddpipe/methods/random.yaml", "grid.random-tiny-1.needs", "data/experts/tiny", "rule random (of random.parts"),
        ("ddpipe/methods/dm.yaml", "grid.dm-tiny-1.needs", "data/experts/tiny", "students fresh (of dm.parts"),
    ],
)
def test_what_nothing_reads(
    file: str, key: str, value: object, says: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.set(file, key, value)
    assert project.run("check") == 2
    assert says in capsys.readouterr().err


def test_real_batches_that_nobody_draws(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    steps = {"name": "trajectory", "steps": 1, "lr": 0.1, "smallest_lr": 0.01, "gradient": "exact"}
    outer = {key: {"lr": 0.1, "momentum": 0.0} for key in ("images", "lr")}
    students = {"name": "experts", "starts": 1, "span": 1}
    project.set("params.yaml", "methods.dm", {"objective": steps, "students": students, "outer": outer})
    assert project.run("check") == 2
    assert "methods.dm.real_batch (dm-tiny-1): objective 'trajectory' draws no real images" in capsys.readouterr().err
    project.set("params.yaml", "methods.dm.real_batch", None)
    assert project.run("check") == 2
    assert "real_batch" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "without", "says"),
    [
        (
            {},
            "real_batch",
            "real_batch: this key is missing: objective 'ridge' draws so many images of each class; add it",
        ),
        (
            {"passes": True, "batches": 1},
            "batch",
            "objective: batch: passes and batches are for images of any class; set",
        ),
    ],
)
def test_ridge_regression_draws_real_images_one_way(
    more: dict, without: str, says: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    ridge = {"name": "ridge", "regularisation": 0.01, "criterion": "squared-error", "flipped": False, "margin": False}
    students = {"name": "ensemble", "networks": 1, "scale": 2.0, "shift": 0.0}
    labels = {"scale": "centred", "learned": False, "init": "hard"}
    change = {"objective": ridge | more, "students": students, "labels": labels}
    project.set("params.yaml", "methods.dm", change | ({"real_batch": None} if without == "real_batch" else {}))
    assert project.run("check") == 2
    assert f"methods.dm.{says}" in capsys.readouterr().err


STATED = [
    ("networks.small.norm", {"kind": "convnet", "depth": 1, "width": 4, "initialisation": "default"}),
    ("networks.small.initialisation", {"kind": "convnet", "depth": 1, "width": 4, "norm": "none"}),
    ("networks.n.initialisation", {"kind": "lenet"}),
    ("networks.n.initialisation", {"kind": "alexnet"}),
    ("networks.n.widths", {"kind": "resnet", "block": "basic", "blocks": [1]}),
    ("networks.n.blocks", {"kind": "densenet", "growth": 4, "norm": "batch"}),
    ("networks.n.norm", {"kind": "densenet", "growth": 4, "blocks": [1]}),
]


@pytest.mark.parametrize(("key", "value"), STATED)
def test_a_network_states_its_choices(
    key: str, value: dict, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.set("params.yaml", key.rpartition(".")[0], value)
    assert project.run("check") == 2
    words = ", ".join(f"{word} is {said!r}" for word, said in sorted(value.items()) if isinstance(said, str))
    told = capsys.readouterr().err
    assert told.startswith(f"error: {key}: this key is missing") and told.endswith(f" ({words})\n")


def test_class_sizes_are_those_of_the_training_images(project: Project) -> None:
    assert class_sizes(project.root / "data/prepared/tiny/data.safetensors") == [12, 12, 5]
    assert Prepared.load(project.root / "data/prepared/tiny").train_labels.bincount().tolist() == [12, 12, 5]
    assert np.bincount(arrays()["train_labels"]).tolist() == [12, 12, 5]


def test_ipc_of_the_smallest_class_is_allowed(project: Project) -> None:
    def widen(content: dict) -> None:
        content["grid"]["random-tiny-5"] = content["grid"]["random-tiny-1"] | {"ipc": 5}

    project.edit("ddpipe/methods/random.yaml", widen)
    assert project.run("check") == 0
    assert project.run("distill", "distill@random-tiny-5") == 0


def test_names_of_augmentations_are_those_of_the_code() -> None:
    assert set(strategy.SIAMESE_OPERATIONS) == set(siamese.OPERATIONS)
    for operation in strategy.OTHERS[strategy.OLDER]:
        assert callable(getattr(older, operation))
    assert augmentation.make("reflect:crop_flip").operations == strategy.OTHERS[strategy.REFLECT]


def test_without_prepared_data_the_rest_is_checked(project: Project, tmp_path: Path) -> None:
    (project.root / "data/prepared").rename(tmp_path / "away")
    assert project.run("check") == 0
