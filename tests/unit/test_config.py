"""Layers of numbers: which wins, where each comes from, what is refused."""

import difflib
from pathlib import Path
from typing import Any

import pytest

from ddpipe import config, mappings, settings
from ddpipe.errors import UserError
from ddpipe.files.insert import insert
from ddpipe.settings.reading import validate
from tests.tracked import TRACKED
from tests.unit.small_project import Project

RECIPE = "ddpipe/methods/dm.yaml:dm"


def test_a_dump_leaves_out_choices_that_nobody_made():
    """Digests of settings, and what sets and results say of them, outlive the keys that came later."""
    assert settings.Optimizer(lr=1.0, momentum=0.5).model_dump() == {"lr": 1.0, "momentum": 0.5}
    told = settings.Optimizer(optimizer="adam", lr=1.0, betas=(0.9, 0.99)).model_dump()
    assert told == {"optimizer": "adam", "lr": 1.0, "betas": (0.9, 0.99)}
    protocol = settings.Trained(epochs=1, momentum=0.9, weight_decay=0.0)
    assert not {"optimizer", "betas", "eps", "schedule", "clip"} & protocol.model_dump().keys()
    assert protocol.model_dump(include={"lr", "eps"}) == {"lr": 0.01}


def test_later_layers_win(project: Project) -> None:
    project.set("ddpipe/methods/dm.yaml", "dm.cells.tiny-1", {"iterations": 7, "real_batch": 9})
    project.set("params.yaml", "methods.dm", {"real_batch": 5, "outer": {"images": {"momentum": 0.0}}})
    found = config.load(project.root)
    resolved = found.resolved("dm-tiny-1")
    assert isinstance(resolved, settings.Distillation)
    assert (resolved.iterations, resolved.real_batch) == (7, 5)
    assert resolved.outer["images"] == settings.Optimizer(lr=1.0, momentum=0.0)
    origins = found.origins("dm-tiny-1")
    assert origins["iterations",] == f"{RECIPE}.cells.tiny-1"
    assert origins["real_batch",] == "params.yaml:methods.dm"
    assert origins["outer", "images", "lr"] == f"{RECIPE}.parts"
    assert origins["outer", "images", "momentum"] == "params.yaml:methods.dm"
    assert ("revision",) not in origins  # the default of settings.py


BY_IPC = {"iterations": 7, "by_ipc": {"1": {}, "10": {"real_batch": 5}, "50": {"real_batch": 6, "iterations": 8}}}


@pytest.mark.parametrize(
    ("ipc", "taken", "expected"),
    [
        *((1, 1, (7, 4)), (3, 1, (7, 4)), (4, 10, (7, 5)), (10, 10, (7, 5)), (20, 10, (7, 5))),
        *((22, 10, (7, 5)), (23, 50, (8, 6)), (50, 50, (8, 6)), (1000, 50, (8, 6)), ("all", 50, (8, 6))),
    ],
)
def test_a_cell_takes_the_numbers_of_the_nearest_images_per_class(project: Project, ipc, taken, expected) -> None:
    project.set("ddpipe/methods/dm.yaml", "dm.cells.default", BY_IPC)
    found = config.load(project.root)
    row = found.row("dm-tiny-1").model_copy(update={"cell": "default", "ipc": ipc})
    resolved = config.resolve(found.layers_of(row))
    assert isinstance(resolved, settings.Distillation) and (resolved.iterations, resolved.real_batch) == expected
    assert found.layers_of(row)[2][0] == f"{RECIPE}.cells.default.by_ipc.{taken}"


def test_of_two_that_are_as_near_the_smaller_counts() -> None:
    recipe = settings.Recipe(paper="", protocol="dc", parts={}, cells={"default": {"by_ipc": {"50": {}, "2": {}}}})
    assert recipe.told_apart("default") == (2, 50) and recipe.taken("default", 10) == 2


def test_params_yaml_has_the_last_word_over_numbers_by_images_per_class(project: Project) -> None:
    project.set("ddpipe/methods/dm.yaml", "dm.cells.tiny-1", BY_IPC)
    project.set("params.yaml", "methods.dm", {"iterations": 9})
    assert config.load(project.root).resolved("dm-tiny-1").steps == 9


def test_another_part_forgets_the_numbers_of_the_old_one(project: Project) -> None:
    project.set(
        "ddpipe/methods/dc.yaml",
        "dc.parts.students",
        {
            "name": "trained",
            "outer_loop": 3,
            "inner_loop": 1,
            "lr": 0.1,
            "momentum": 0.0,
            "batch": 9,
            "augment": "none",
        },
    )
    project.set("params.yaml", "methods.dc", {"students": {"name": "fresh"}})
    found = config.load(project.root)
    resolved = found.resolved("dc-tiny-1")
    assert isinstance(resolved, settings.Distillation) and resolved.students == settings.students.fresh.FreshStudents(
        name="fresh"
    )
    assert ("students", "outer_loop") not in found.origins("dc-tiny-1")


def test_a_new_combination_inherits_the_recipe_not_the_overrides(project: Project) -> None:
    project.set("params.yaml", "methods.dm", {"iterations": 5})
    project.set("params.yaml", "methods.short", {"base": "dm", "real_batch": 2})
    row = config.load(project.root).rows["dm-tiny-1"].model_dump() | {"method": "short"}
    project.set("params.yaml", "grid", {"short-tiny-1": row})
    found = config.load(project.root)
    resolved = found.resolved("short-tiny-1")
    assert isinstance(resolved, settings.Distillation) and (resolved.iterations, resolved.real_batch) == (3, 2)
    assert found.overrides("short-tiny-1") == {"real_batch": 2}
    assert found.overrides("dm-tiny-1") == {"iterations": 5}
    assert project.run("check") == 0


def test_a_row_must_name_the_recipe_of_its_method(project: Project) -> None:
    project.set("params.yaml", "methods.dm", {"base": "dc"})
    with pytest.raises(UserError, match=r"grid.dm-tiny-1.recipe: 'dm', but the base of methods.dm is 'dc'; make"):
        config.load(project.root).resolved("dm-tiny-1")


def test_a_protocol_has_exceptions_for_a_dataset(project: Project) -> None:
    found = config.load(project.root)
    assert (found.protocol("quick", "tiny").epochs, found.protocol("quick", "other").epochs) == (2, 1)
    assert found.protocol("quick", "tiny").batch == 8


def test_a_key_that_stands_twice_is_refused(project: Project) -> None:
    found = config.load(project.root)
    project.set("params.yaml", "grid", {"dm-tiny-1": found.rows["dm-tiny-1"].model_dump()})
    with pytest.raises(UserError, match="grid.dm-tiny-1: this key exists twice"):
        config.load(project.root)


def test_results_of_a_dataset(project: Project) -> None:
    paths = [f"{key.name}.json" for key in config.results_of(config.load(project.root), "tiny")]
    further = [f"{cell}-tiny-1.other.again.json" for cell in ("dm", "random", "herding")]
    assert "dm-tiny-1.small.quick.json" in paths and paths[-3:] == further
    assert all((project.root / "data/results/tiny" / name).exists() for name in paths[:-2])
    assert config.results_of(config.load(project.root), "digits") == []


@pytest.mark.parametrize(("text", "value"), [("1e-5", 1e-5), ("on", "on"), ("0o17", 15), ("[1, 2]", [1, 2])])
def test_yaml_is_read_as_dvc_reads_it(text: str, value: object, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"key: {text}\n")
    assert config.read_yaml(tmp_path / "x.yaml") == {"key": value}


@pytest.mark.parametrize(
    ("base", "change", "merged"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}}, {"a": 1, "b": {"c": 4, "d": 3}}),
        ({"a": {"name": "x", "k": 1}}, {"a": {"name": "x", "j": 2}}, {"a": {"name": "x", "k": 1, "j": 2}}),
        ({"a": {"name": "x", "k": 1}}, {"a": {"name": "y"}}, {"a": {"name": "y"}}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}, {"a": {"c": 2, "d": 3}}),
        ({"a": {"name": "x"}, "b": None}, {"a": None}, {"b": None}),
    ],
)
def test_merge(base: dict, change: dict, merged: dict) -> None:
    before = repr(base)
    assert mappings.merge(base, change) == merged
    assert repr(base) == before


def test_every_published_cell_resolves() -> None:
    found = config.load(TRACKED)
    for cell in found.rows:
        assert found.resolved(cell)


def test_a_stage_knows_rows_and_evaluations_apart_by_their_keys(project: Project) -> None:
    entry = {"cell": "dm", "dataset": "tiny", "data": "tiny", "network": "tiny", "protocol": "1"}
    project.set("params.yaml", "evaluations", {"dm-tiny-1": entry})
    with pytest.raises(UserError, match=r"evaluations\.dm-tiny-1: a row of the grid has this name too"):
        config.load(project.root)


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert str(UserError("a\x1b[2J\nb é")) == "a\\x1b[2J\\nb é"


def test_params_yaml_has_the_form_that_dvc_writes(tmp_path: Path) -> None:
    """`dvc exp run -S` writes the file anew: one number is one line."""
    from dvc.utils.hydra import apply_overrides

    row = {"dataset": "birds", "data": "birds", "network": "convnet3_w16", "protocol": "short-learned"}
    added = {"grid": {"mtt-birds-10": row | {"needs": "data/experts/birds-trajectories"}}, "own": {"a": {"flip": True}}}
    before = insert((TRACKED / "params.yaml").read_text(), added)  # as `ddpipe add` does
    path = tmp_path / "params.yaml"
    path.write_text(before)
    apply_overrides(path, ["protocols.dsa.epochs=1001", "experts.mnist.epochs=21", "+methods.dm.iterations=3"])
    difference = [line for line in difflib.ndiff(before.splitlines(), path.read_text().splitlines()) if line[0] in "+-"]
    expert = next(line for line in before.splitlines() if line.startswith("  mnist: {data: mnist, network: convnet3,"))
    gone = [line.removeprefix("- ") for line in difference if line.startswith("-")]
    assert gone == [expert, "    epochs: 1000", "  dm: {}"] and len(difference) == len(gone) + 4


@pytest.mark.parametrize(
    ("kind", "said", "told"),
    [
        (settings.Experts, {"data": "digits"}, "x.epochs: this key is missing, and so are network, networks; add them"),
        (settings.Experts, {"data": "digits", "network": "a", "networks": 1}, "x.epochs: this key is missing; add it"),
        (
            settings.Network,
            {"kind": "convnet", "depth": 1, "width": 3},
            "x.norm: this key is missing, and so is initialisation; add them (kind is 'convnet')",
        ),
        (settings.AnyProtocol, {"epochs": 3}, "x.lr: this key is missing; add it, or learned_lr: true for the one"),
    ],
)
def test_keys_that_are_missing_together_are_named_together(kind: Any, said: dict, told: str) -> None:
    with pytest.raises(UserError) as error:
        validate(kind, said, "x")
    assert str(error.value).startswith(told)
