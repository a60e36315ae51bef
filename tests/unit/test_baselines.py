"""No distilled set stands alone: what `ddpipe check` says of one, and that what it tells to write is right."""

import re

import pytest
from ruamel.yaml import YAML

from ddpipe import config
from ddpipe.checks.baselines import Grid, Scene, baselines, rules
from tests.tracked import TRACKED
from tests.unit.small_project import Project

Output = pytest.CaptureFixture[str]
STEPS = {"epochs": 1, "extra_epoch": False, "momentum": 0.9, "weight_decay": 0.0005, "batch": 8}
LEARNED = STEPS | {"drop": "half", "drop_resets_momentum": True, "augment": "none", "networks": 1, "learned_lr": True}
OTHER = {"cell": "dm-tiny-1", "dataset": "tiny", "data": "tiny", "network": "other", "protocol": "quick"}


def found(project: Project) -> list[str]:
    return list(baselines(config.load(project.root)))


def mend(sentence: str) -> list[str]:
    """The words of the command that it says."""
    return re.findall(r"`ddpipe ([^`]*)`", sentence)[0].split()


def test_the_project_itself() -> None:
    """Random, Herding and K-Center lie beside whatever is distilled, all images beside sets as large as the data."""
    project = config.load(TRACKED)
    assert list(baselines(project)) == []
    assert list(rules(project)) == ["random", "herding", "kcenter", "whole"]
    there = Grid(project).scenes
    beside = {m.row.recipe for m in there[Scene("fashionmnist", "fashionmnist", 10, "convnet3", "idc")]}
    assert beside == {"random", "herding", "kcenter", "idc"}


def test_a_scene_that_lacks_one(project: Project) -> None:
    assert found(project) == []
    project.edit("params.yaml", lambda content: content["evaluations"].pop("herding-tiny-1-other-again"))
    assert found(project) == [
        "evaluations.dm-tiny-1-other-again: a distilled set of tiny at IPC 1 on other under again, where nothing is "
        "measured of herding; run `ddpipe add random,herding tiny --ipc 1 --network other --protocol again`"
    ]


@pytest.mark.parametrize("gone", [["random"], ["herding"], ["random", "herding"]])
def test_the_mend_of_a_further_evaluation(gone: list[str], project: Project) -> None:
    for rule in gone:
        project.edit("params.yaml", lambda content, rule=rule: content["evaluations"].pop(f"{rule}-tiny-1-other-again"))
    (sentence,) = found(project)
    assert project.run(*mend(sentence)) == 0
    assert project.run("check") == 0
    added = config.load(project.root)
    assert {f"{rule}-tiny-1-other-again" for rule in gone} <= added.evaluations.keys() and len(added.rows) == 4


def test_the_mend_of_a_row_of_another_number_and_form(project: Project) -> None:
    """Rows are made, with the buffer in whose features a rule chooses."""
    project.set("params.yaml", "datasets.tiny-zca", {"source": "npz", "path": "data/raw/tiny.npz", "flip": False})
    row = dict(YAML(typ="safe").load(project.root / "ddpipe/methods/dm.yaml")["grid"]["dm-tiny-1"])
    row |= {"ipc": 2, "data": "tiny-zca", "cell": "default", "needs": "data/prepared/tiny-zca"}
    project.set("params.yaml", "grid.dm-tiny-2", row)
    (sentence,) = found(project)
    assert sentence.startswith("grid.dm-tiny-2: a distilled set of tiny-zca at IPC 2 on small under quick")
    assert project.run(*mend(sentence)) == 0 and found(project) == []
    added = {there.recipe: there for there in config.load(project.root).rows.values() if there.data == "tiny-zca"}
    assert added.keys() == {"dm", "random", "herding"} and added["herding"].needs == "data/experts/tiny-zca"


def test_an_unlearned_set_needs_none(project: Project) -> None:
    """Nothing of it is distilled: it is a rival itself."""
    project.set("params.yaml", "methods.dm-start", {"base": "dm", "iterations": 0})
    row = dict(YAML(typ="safe").load(project.root / "ddpipe/methods/dm.yaml")["grid"]["dm-tiny-1"])
    project.set("params.yaml", "grid.dm-start-tiny-2", row | {"method": "dm-start", "ipc": 2, "cell": "default"})
    assert found(project) == []


def test_a_learned_step_size_has_a_twin(project: Project) -> None:
    """Beside sets that are trained on with a learned step size stand real images with a stated one."""
    project.set("params.yaml", "protocols.own-step", LEARNED)
    project.set("params.yaml", "evaluations.dm-tiny-1-other-own-step", OTHER | {"protocol": "own-step"})
    assert found(project) == []  # `again` is the same, and they are measured under it
    project.set("params.yaml", "protocols.own-step.batch", 4)
    (sentence,) = found(project)
    assert "on other under own-step, where nothing is measured of random and herding" in sentence
    assert project.run(*mend(sentence)) == 0 and found(project) == []
    added = config.load(project.root)
    assert {f"{rule}-tiny-1-other-own-step-real" for rule in ("random", "herding")} <= added.evaluations.keys()


def test_where_real_images_cannot_be_measured(project: Project) -> None:
    """An order of batches: either the same without anything learned stands there, or another protocol is measured."""
    project.set("params.yaml", "protocols.steps", {"kind": "replay", "networks": 1})
    project.set("params.yaml", "evaluations.dm-tiny-1-other-steps", OTHER | {"protocol": "steps"})
    assert found(project) == []  # the set is measured on this network under `again` too
    project.set(
        "params.yaml",
        "networks.third",
        {"kind": "convnet", "depth": 1, "width": 3, "norm": "instance", "initialisation": "default"},
    )
    alone = OTHER | {"network": "third", "protocol": "steps"}
    project.set("params.yaml", "evaluations.dm-tiny-1-third-steps", alone)
    (sentence,) = found(project)
    said = "evaluations.dm-tiny-1-third-steps: a distilled set of tiny at IPC 1 on third under steps, which real images"
    assert sentence.startswith(said)
    assert " ".join(mend(sentence)) == "add dm tiny --ipc 1 --network third --protocol quick --student small"
    project.set("params.yaml", "methods.dm-start", {"base": "dm", "iterations": 0})
    (sentence,) = found(project)
    written = sentence.partition("write `")[2].partition("`")[0]
    project.set("params.yaml", "grid", YAML(typ="safe").load(f"{{{written}}}"))
    assert found(project) == []
    row = config.load(project.root).rows["dm-start-tiny-1"]
    assert (row.network, row.protocol, row.student) == ("third", "steps", "small")


def test_a_set_as_large_as_the_data(project: Project) -> None:
    """All images are its rival, under the protocol of theirs."""
    project.put("itgan")
    assert found(project) == []  # no method takes all images here

    def whole(content: dict) -> None:
        content["random"]["parts"] |= {"rule": "whole", "sets": 1}
        content["grid"] = {"random-tiny-all": content["grid"]["random-tiny-1"] | {"ipc": "all", "protocol": "again"}}

    project.edit("ddpipe/methods/random.yaml", whole)
    assert [sentence for sentence in found(project) if "IPC all" in sentence] == []
    project.set("ddpipe/methods/random.yaml", "grid.random-tiny-all.network", "other")
    (sentence,) = [sentence for sentence in found(project) if "IPC all" in sentence]
    assert " ".join(mend(sentence)) == "add random tiny --ipc all --network small"
