"""Bad input: one sentence that names the key or path and the mend, a failing exit code, nothing half-written."""
# ruff: noqa: E501 (a row of the table is one line)

import errno
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from ddpipe.distilled import sets
from ddpipe.files import artifacts
from ddpipe.settings.part import records
from tests.unit.small_project import ROOT, STAGES, Project, arrays

DM, DATA = "ddpipe/methods/dm.yaml", "data/prepared/tiny/data.safetensors"
RESULT = "data/results/tiny/dm-tiny-1"


class Bad(NamedTuple):
    """One mistake: how to make it, the command that meets it, and what its sentence must say."""

    name: str
    make: Callable[[Project], object]
    command: str
    says: tuple[str, ...]


def put(file: str, key: str, value: object) -> Callable[[Project], object]:
    return lambda project: project.set(file, key, value)


def params(key: str, value: object) -> Callable[[Project], object]:
    return put("params.yaml", key, value)


def row(key: str, value: object, method: str = "dm") -> Callable[[Project], object]:
    return put(f"ddpipe/methods/{method}.yaml", f"grid.{method}-tiny-1.{key}", value)


def rename(key: object) -> Callable[[Project], object]:
    """The row dm-tiny-1 under another key, which no command can take for its name."""

    def change(content: dict) -> None:
        content["grid"][key] = content["grid"].pop("dm-tiny-1")

    return lambda project: project.edit(DM, change)


def drop(file: str, key: str) -> Callable[[Project], object]:
    def change(content: dict) -> None:
        *path, last = key.split(".")
        for step in path:
            content = content[step]
        del content[last]

    return lambda project: project.edit(file, change)


def write(file: str, text: str) -> Callable[[Project], object]:
    return lambda project: (project.root / file).write_text(text)


def cut(file: str) -> Callable[[Project], object]:
    """The first half of a file."""

    def make(project: Project) -> None:
        path = project.root / file
        content = path.read_bytes()
        path.unlink()  # a copy of the session's project shares nothing, but a hard link would
        path.write_bytes(content[: len(content) // 2])

    return make


def remove(file: str) -> Callable[[Project], object]:
    return lambda project: (project.root / file).unlink()


def pipe(file: str) -> Callable[[Project], object]:
    """Nobody writes into it: opening it to read would wait for ever."""

    def make(project: Project) -> None:
        (project.root / file).unlink()
        os.mkfifo(project.root / file)

    return make


def linked(file: str) -> Callable[[Project], object]:
    """The file itself lies beside the project, and a link to it in its place."""

    def make(project: Project) -> None:
        away = project.root.parent / "away"
        (project.root / file).rename(away)
        (project.root / file).symlink_to(away)

    return make


def gif(project: Project) -> None:
    """A picture in a format that a browser would show as well."""
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "GIF")
    (project.root / f"{RESULT}.png").write_bytes(stream.getvalue())


def npz(**change: np.ndarray) -> Callable[[Project], object]:
    return lambda project: project.npz(**change)


def pictures(spoil: Callable[[bytes], bytes]) -> Callable[[Project], object]:
    """The data set as a folder of PNGs, one of them spoilt."""

    def make(project: Project) -> None:
        given = arrays()
        for part in ("train", "test"):
            for i, (image, label) in enumerate(zip(given[f"{part}_images"], given[f"{part}_labels"], strict=True)):
                folder = project.root / "data/raw/birds" / part / f"class{label}"
                folder.mkdir(parents=True, exist_ok=True)
                stream = io.BytesIO()
                Image.fromarray(image).save(stream, "PNG")
                (folder / f"{i}.png").write_bytes(
                    spoil(stream.getvalue()) if (part, i) == ("train", 3) else stream.getvalue()
                )
        project.set(
            "params.yaml", "datasets.tiny", {"source": "folder", "path": "data/raw/birds", "grey": True, "flip": True}
        )

    return make


def other_data(project: Project) -> None:
    """Prepare other images under the same name, beneath a set distilled from the first ones."""
    project.npz(train_images=255 - arrays()["train_images"])
    assert project.run("prepare", "tiny") == 0


def ipc(value: object, method: str = "dm") -> Callable[[Project], object]:
    """The method's row with another IPC, under the name that it then must have."""

    def rename(content: dict) -> None:
        content["grid"] = {f"{method}-tiny-{value}": content["grid"][f"{method}-tiny-1"] | {"ipc": value}}

    return lambda project: project.edit(f"ddpipe/methods/{method}.yaml", rename)


def all_of_dm(project: Project) -> None:
    ipc("all")(project)
    project.set("params.yaml", "evaluations", {})


TRAINED_RIDGE = {
    **{"kind": "ridge", "regularisation": 1e-6, "networks": 1},
    "training": {
        **{"epochs": 1, "extra_epoch": False, "lr": 0.01, "momentum": 0.0, "weight_decay": 0.0, "batch": 2},
        **{"drop": "never", "augment": "none"},
    },
}


def lone_image(key: str, value: object) -> Callable[[Project], object]:
    """Batch norm on maps of 1x1, and a number that leaves a batch of one image."""

    def make(project: Project) -> None:
        params("networks.small", NARROW | {"norm": "batch"})(project)
        params(key, value)(project)

    return make


def unprepared_digits(project: Project) -> None:
    """Published images of 8x8 that nobody has prepared yet, for a network that they do not fit."""
    shutil.rmtree(project.root / "data/prepared/tiny")
    params("datasets.tiny", {"source": "digits"})(project)
    params("networks.small", NARROW | {"norm": "instance"})(project)


NARROW = {
    "kind": "resnet",
    "block": "basic",
    "blocks": [1] * 4,
    "widths": [2] * 4,
    "downsampling": "stride",
    "initialisation": "he",
}
COSINE = {"name": "cosine", "last": 0.1}
ADAM = {"outer": {"images": {"optimizer": "adam", "betas": [0.9, 0.99]}}}
FURTHER = {"cell": "dm-tiny-1", "dataset": "tiny", "data": "tiny", "network": "other", "protocol": "quick"}
CUT_SHORT = ("is damaged or cut short", "dvc repro distill@dm-tiny-1")
CONSTANT = np.full_like(arrays()["train_images"], 7)
WIDE = np.zeros((29, 8, 9), dtype=np.uint8)

# nine times as many with every line; the keys of a mapping are counted too
LAUGHS = "a0: &a0 [x]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
MERGES = "a0: &a0 {k: 1}\n" + "\n".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 12))

TABLE = [
    # params.yaml
    Bad("unknown key", params("protocols.quick.epochz", 3), "check", ("protocols.quick.epochz", "did you mean 'epochs'?")),
    Bad("unknown block", params("network", {}), "check", ("network: unknown key", "did you mean 'networks'?")),
    Bad("wrong type", params("protocols.quick.batch", "many"), "check", ("protocols.quick.batch", "integer", "'many'")),
    Bad("text for a number", params("seed", "0"), "check", ("seed", "integer", "'0'")),
    Bad("negative", params("protocols.quick.lr", -0.1), "check", ("protocols.quick.lr", "greater than 0", "-0.1")),
    Bad("NaN", params("protocols.quick.lr", float("nan")), "check", ("protocols.quick.lr", "finite", "nan")),
    Bad("infinite", params("protocols.quick.lr", float("inf")), "check", ("protocols.quick.lr", "finite", "inf")),
    Bad("no epochs", params("experts.tiny.epochs", 0), "check", ("experts.tiny.epochs", "greater than 0")),
    Bad("network kind", params("networks.small.kind", "convnext"), "check", ("networks.small", "'convnext'", "'convnet'")),
    Bad("missing key", drop("params.yaml", "seed"), "check", ("seed: this key is missing", "add it")),
    Bad("broken YAML", write("params.yaml", "seed: 0\nrun: {device\n"), "check", ("params.yaml, line", "not valid YAML")),
    Bad("merge", write("params.yaml", "seed: 0\n<<<<<<< HEAD\nrun: {}\n=======\nrun: {threads: 1}\n>>>>>>> other\n"), "check", ("params.yaml holds both sides of a merge from line 2", "keep one")),
    Bad("merge of keys", write("params.yaml", "run:\n<<<<<<< HEAD\n  threads: 2\n=======\n  threads: 1\n>>>>>>> other\n"), "check", ("params.yaml holds both sides of a merge from line 2", "keep one")),
    Bad("merge of a recipe", write(DM, "<<<<<<< HEAD\ndm: {}\n=======\n>>>>>>> other\n"), "check", ("dm.yaml holds both sides of a merge from line 1", "keep one")),
    Bad("empty params", write("params.yaml", ""), "check", ("params.yaml holds no settings", "put it back")),
    Bad("list for params", write("params.yaml", "- seed\n"), "check", ("params.yaml holds no settings", "put it back")),
    Bad("no params", remove("params.yaml"), "check", ("params.yaml does not exist", "run inside")),
    Bad("no params, stage", remove("params.yaml"), "distill dm-tiny-1", ("params.yaml does not exist", "run inside")),
    Bad("mean without given", params("datasets.tiny.mean", [0.1]), "check", ("datasets.tiny", "standardise is 'given'")),
    Bad("augmentation", params("protocols.quick.augment", "colr"), "check", ("protocols.quick.augment", 'mean "color"?')),
    Bad("older one", params("protocols.quick.augment", "older:flip"), "check", ("protocols.quick.augment", '"flip"')),
    Bad("exception", params("protocols.quick.exceptions.tiny", {"epoch": 1}), "check", ("exceptions.tiny.epoch", "'epochs'")),
    Bad("exception for", params("protocols.quick.exceptions", {"tyni": {}}), "check", ("'tyni'", "did you mean 'tiny'?")),
    Bad("experts' data", params("experts.tiny.data", "tyni"), "check", ("experts.tiny.data", "did you mean 'tiny'?")),
    Bad("experts' network", params("experts.tiny.network", "smal"), "check", ("experts.tiny.network", "did you mean")),
    Bad("report without rows", params("reports.digits", {}), "check", ("reports.digits", "remove the line")),
    Bad("report over the survey's", params("reports.survey", {}), "check", ("reports.survey", "another name")),
    Bad("rows without report", params("reports", {}), "check", ("reports.tiny", "add `tiny: {}`")),
    Bad("reserved name", params("datasets.size", {"source": "digits"}), "check", ("datasets.size", "rename it")),
    Bad("odd name", params("datasets.Tiny", {"source": "digits"}), "check", ("datasets.Tiny", "a-z", "rename it")),
    Bad("dashes first", params("methods.--help", {}), "report tiny", ("methods.--help", "begins with a letter", "rename it")),
    Bad("end of line", params("networks", {"small\n": {"kind": "lenet"}}), "page", ("networks.small\\n", "a-z", "rename it")),
    Bad("long name", params(f"protocols.{'x' * 65}", {"epochs": 1}), "check", ("protocols.xxx", "64 characters", "rename it")),
    Bad("no text", params("reports", {7: {}}), "check", ("reports.7", "must be a valid string")),
    Bad("recipe's file", lambda p: (p.root / DM).rename(p.root / "ddpipe/methods/d m.yaml"), "check", ("ddpipe/methods/d m.yaml", "rename it")),
    Bad("name of a cell", put(DM, "dm.cells.a b", {}), "distill dm-tiny-1", ("dm.yaml:dm.cells.a b", "rename it")),
    Bad("tag", write("params.yaml", "seed: !!python/name:os.system 0"), "check", ("params.yaml, line 1", "the tag", "remove it")),
    Bad("digits", write("params.yaml", f"seed: {'1' * 5000}"), "check", ("params.yaml, line 1", "5000 digits", "shorter")),
    Bad("no date", write("params.yaml", "seed: 2001-99-99"), "check", ("params.yaml", "month must be in 1..12")),
    Bad("nested", write("params.yaml", "[" * 100_000), "check", ("params.yaml, line 1", "inside each other")),
    Bad("recursive", write("params.yaml", "seed: &a {b: [*a]}"), "check", ("params.yaml, line 1", "*a is a part of itself")),
    Bad("aliases", write("params.yaml", LAUGHS), "distill dm-tiny-1", ("params.yaml, line", "aliases written out")),
    Bad("merge keys", write("params.yaml", MERGES), "prepare tiny", ("params.yaml, line", "aliases written out")),
    Bad("large params", write("params.yaml", "#" * 5_000_000), "check", ("params.yaml is larger than 4 MB", "put it back")),
    Bad("pipe for params", pipe("params.yaml"), "check", ("params.yaml is no file", "put the file back")),
    Bad("pipe for a recipe", pipe(DM), "distill dm-tiny-1", ("dm.yaml is no file", "put the file back")),
    # optimisers, schedules, clipping
    Bad("no betas", params("protocols.quick.optimizer", "adam"), "check", ("protocols.quick.betas: this key is missing", "optimizer is 'adam'")),
    Bad("not torch's", params("protocols.quick.optimizer", "lamb"), "check", ("protocols.quick.optimizer: must be sgd, adam or adamw",)),
    Bad("sgd's betas", params("protocols.quick.betas", [0.9, 0.9]), "check", ("protocols.quick.betas: sgd has no such number", "leave it out")),
    Bad("Adam's momentum", params("methods.dm", ADAM), "check", ("methods.dm.outer.images.momentum: adam has no such number", "null takes it out")),
    Bad("schedule", params("protocols.quick.schedule", {"name": "cosin"}), "check", ("protocols.quick.schedule", "'cosin'", "'cosine'")),
    Bad("key of a schedule", params("protocols.quick.schedule", COSINE | {"warmpu": 3}), "check", ("quick.schedule.warmpu", "did you mean 'warmup'?")),
    Bad("drop twice", params("protocols.quick.schedule", COSINE), "check", ("protocols.quick.drop: schedule takes its place", "remove one of them")),
    Bad("no bound", params("methods.dm", {"clip": {}}), "check", ("methods.dm.clip: norm or value must be set, and not both",)),
    # overrides and recipes
    Bad("override", params("methods.dm", {"iteration": 9}), "check", ("params.yaml:methods.dm.iteration", "'iterations'?")),
    Bad("override, stage", params("methods.dm", {"iteration": 9}), "distill dm-tiny-1", ("methods.dm.iteration", "'iterations'?")),
    Bad("no iterations", params("methods.dm", {"iterations": -1}), "check", ("methods.dm.iterations", "greater than or equal to 0")),
    Bad("override NaN", params("methods.dm", {"outer": {"images": {"lr": float("nan")}}}), "check", ("outer.images.lr", "finite")),
    Bad("no objective", params("methods.dm", {"objective": {"name": "gradients"}}), "check", ("methods.dm.objective", "'gradient'")),
    Bad("not differentiable", params("methods.dm", {"augment": "older:crop"}), "check", ("methods.dm.augment", "gradient")),
    Bad("no base", params("methods.mine", {"iterations": 5}), "check", ("methods.mine", "no recipe ddpipe/methods/mine.yaml", "`mine: {base: dm}`")),
    Bad("no base, methods", params("methods.mine", {"iterations": 5}), "methods", ("methods.mine", "`mine: {base: dm}`")),
    Bad("no base, add", params("methods.mine", {"iterations": 5}), "add mine tiny --ipc 2", ("methods.mine", "`mine: {base: dm}`")),
    Bad("unknown base", params("methods.dm-short", {"base": "dn"}), "check", ("methods.dm-short.base", "did you mean 'dm'?")),
    Bad("recipe key", put(DM, "dm.parts.iteratons", 9), "check", ("dm.yaml:dm.parts.iteratons", "'iterations'?")),
    Bad("recipe's cell", put(DM, "dm.cells.tiny-1", {"sets": 0}), "check", ("dm.yaml:dm.cells.tiny-1.sets", "greater than 0")),
    Bad("unused cell", put(DM, "dm.cells.tiny-9", {"real_batsh": 1}), "check", ("dm.cells.tiny-9.real_batsh", "'real_batch'?")),
    Bad("cell by IPC", put(DM, "dm.cells.tiny-9", {"by_ipc": {"1": {}, "10": {"real_batsh": 1}}}), "check", ("dm.cells.tiny-9.by_ipc.10.real_batsh", "'real_batch'?")),
    Bad("no IPC", put(DM, "dm.cells.tiny-9", {"by_ipc": {}}), "check", ("dm.cells.tiny-9", "by_ipc must say", "'10'")),
    Bad("IPC unquoted", put(DM, "dm.cells.tiny-9", {"by_ipc": {10: {}}}), "check", ("dm.cells.tiny-9", "by_ipc.10", "in quotes, as '10'")),
    Bad("no such IPC", put(DM, "dm.cells.tiny-9", {"by_ipc": {"ten": {}}}), "check", ("dm.cells.tiny-9", "by_ipc.ten", "as '10'")),
    Bad("IPC of nothing", put(DM, "dm.cells.tiny-9", {"by_ipc": {"10": None}}), "check", ("dm.cells.tiny-9", "by_ipc.10", "{} if nothing")),
    Bad("no default", drop(DM, "dm.cells.default"), "check", ("dm.cells.default", "add it")),
    Bad("no cell", drop(DM, "dm.cells.tiny-1"), "check", ("grid.dm-tiny-1.cell", "has no cells.tiny-1")),
    Bad("no cell, stage", drop(DM, "dm.cells.tiny-1"), "distill dm-tiny-1", ("grid.dm-tiny-1.cell", "has no cells.tiny-1")),
    Bad("second block", put(DM, "griid", {}), "check", ("dm.yaml:griid", "did you mean 'grid'?")),
    Bad("broken recipe", write(DM, "dm: [1,"), "check", ("dm.yaml, line", "not valid YAML")),
    Bad("recipe's name", write(DM, "dn: {}"), "check", ("ddpipe/methods/dm.yaml", "under the key 'dm'")),
    # rows
    Bad("method not listed", drop("params.yaml", "methods.dm"), "check", ("methods.dm", "needs this line")),
    Bad("network", row("network", "smol"), "check", ("grid.dm-tiny-1.network", "did you mean 'small'?")),
    Bad("network, stage", row("network", "smol"), "evaluate dm-tiny-1", ("networks.smol", "did you mean 'small'?")),
    Bad("student", row("student", "smol"), "check", ("grid.dm-tiny-1.student", "did you mean 'small'?")),
    Bad("student, stage", row("student", "smol"), "distill dm-tiny-1", ("networks.smol", "did you mean 'small'?")),
    Bad("protocol", row("protocol", "quikc"), "check", ("grid.dm-tiny-1.protocol", "did you mean 'quick'?")),
    Bad("protocol, stage", row("protocol", "quikc"), "evaluate dm-tiny-1", ("protocols.quikc", "did you mean 'quick'?")),
    Bad("data", row("data", "tyni"), "check", ("grid.dm-tiny-1.data", "did you mean 'tiny'?")),
    Bad("row's name", row("ipc", 2), "check", ("grid.dm-tiny-1", "rename it to 'dm-tiny-2'")),
    Bad("row's name in capitals", rename("DM-tiny-1"), "check", ("grid.DM-tiny-1", "rename it to 'dm-tiny-1'")),
    Bad("row's name with an umlaut", rename("dm-tïny-1"), "check", ("grid.dm-tïny-1", "rename it to 'dm-tiny-1'")),
    Bad("row without a name", rename(None), "check", ("grid.null", "must be a valid string")),
    Bad("row in capitals, not finished", params("grid", {"DM-Tiny-2": {"method": "dm"}}), "check", ("grid.DM-Tiny-2", "lacks dataset", "<method>-<dataset>-<ipc>")),
    Bad("evaluation without a name", params("evaluations", {None: FURTHER | {"method": "dm"}}), "check", ("evaluations.null.method: unknown key",)),
    Bad("zero IPC", row("ipc", 0), "check", ("grid.dm-tiny-1.ipc", "greater than 0")),
    Bad("all of dm", all_of_dm, "check", ("grid.dm-tiny-all.ipc", "number of images per class")),
    Bad("needs", row("needs", "data/tiny"), "check", ("grid.dm-tiny-1.needs", "data/prepared/<data>")),
    Bad("needs above", row("needs", "data/experts/../raw"), "distill dm-tiny-1", ("grid.dm-tiny-1.needs", "data/experts/<buffer>")),
    Bad("other needs", row("needs", "data/prepared/other"), "check", ("grid.dm-tiny-1.needs", "data/prepared/tiny")),
    Bad("a file of old", row("objective", "ddpipe/objectives/distribution.py"), "check", ("grid.dm-tiny-1.objective: unknown key",)),
    Bad("data above", row("dataset", "../../../evil"), "evaluate dm-tiny-1", ("grid.dm-tiny-1.dataset", "is no name", "rename it")),
    Bad("IPC for a shell", row("ipc", "1; touch X"), "distill dm-tiny-1", ("grid.dm-tiny-1.ipc", "integer", "'1; touch X'")),
    Bad("no buffer", row("needs", "data/experts/tyni", "herding"), "check", ("grid.herding-tiny-1.needs", "'tiny'?")),
    Bad("herding's needs", row("needs", "data/prepared/tiny", "herding"), "check", ("needs: rule herding", "data/experts/<buffer>")),
    Bad("herding's student", row("student", "other", "herding"), "check", ("grid.herding-tiny-1.student", "'small'")),
    Bad("no vars", write("dvc.yaml", "vars: []"), "check", ("dvc.yaml, vars", "list it as `- ddpipe/methods/dm.yaml:grid`")),
    Bad("evaluation", params("evaluations.x", FURTHER), "check", ("evaluations.x", "rename it to 'dm-tiny-1-other-quick'")),
    Bad("own evaluation", params("evaluations", {"dm-tiny-1-small-quick": FURTHER | {"network": "small"}}), "check", ("evaluations.dm-tiny-1-small-quick", "remove it")),
    Bad("evaluation's cell", params("evaluations", {"dm-tiny-2-other-quick": FURTHER | {"cell": "dm-tiny-2"}}), "check", ("evaluations.dm-tiny-2-other-quick.cell", "'dm-tiny-1'?")),
    # what the data say
    Bad("IPC too large", ipc(6), "check", ("grid.dm-tiny-6.ipc", "smallest class", "at most 5")),
    Bad("IPC too large, dm", ipc(6), "distill dm-tiny-6", ("ipc", "6", "5")),
    Bad("IPC too large, random", ipc(6, "random"), "distill random-tiny-6", ("ipc", "6", "5")),
    Bad("too deep", params("networks.small.depth", 9), "check", ("networks.small.depth", "8x8", "lower it")),
    Bad("too deep, stage", params("networks.small.depth", 9), "distill dm-tiny-1", ("depth 9", "8x8", "lower its depth")),
    Bad("wiped out", params("networks.small", NARROW | {"norm": "instance"}), "check", ("networks.small.norm", "8x8 images of tiny", "1x1", "set it to batch")),
    Bad("wiped out, stage", params("networks.small", NARROW | {"norm": "instance"}), "distill dm-tiny-1", ("resnet", "1x1", "norm to batch")),
    Bad("unprepared", unprepared_digits, "check", ("networks.small.norm", "8x8 images of tiny", "set it to batch")),
    Bad("lone image", lone_image("protocols.quick.batch", 2), "check", ("protocols.quick.batch", "of 3 images", "set it to 3")),
    Bad("lone image, stage", lone_image("protocols.quick.batch", 2), "evaluate dm-tiny-1", ("protocols.quick.batch", "set it to 3")),
    Bad("lone image, ridge", lone_image("protocols.quick", TRAINED_RIDGE), "check", ("protocols.quick.training.batch: 2 at a time", "set it to 3")),
    Bad("lone image, ridge, stage", lone_image("protocols.quick", TRAINED_RIDGE), "evaluate dm-tiny-1", ("protocols.quick.training.batch: 2 at a time",)),
    Bad("lone expert", lone_image("experts.tiny.batch", 7), "check", ("experts.tiny.batch", "of 29 images", "set it to 8")),
    Bad("lone expert, stage", lone_image("experts.tiny.batch", 7), "experts tiny", ("experts.tiny.batch", "set it to 8")),
    Bad("lone student", lone_image("methods.dc", {"students": {"batch": 2}}), "check", ("methods.dc.students.batch", "set it to 3")),
    Bad("lone student, stage", lone_image("methods.dc", {"students": {"batch": 2}}), "distill dc-tiny-1", ("students.batch", "set it to 3")),
    Bad("no images", remove("data/raw/tiny.npz"), "prepare tiny", ("datasets.tiny.path", "does not exist", "name an .npz")),
    Bad("no downloads", params("datasets.tiny", {"source": "mnist"}), "prepare tiny", ("data/raw/mnist", "ubyte")),
    Bad("not an image", pictures(lambda data: b"hello"), "prepare tiny", ("class0/3.png is not a readable image", "replace")),
    Bad("cut image", pictures(lambda data: data[:60]), "prepare tiny", ("class0/3.png is not a readable image", "replace")),
    Bad("constant", npz(train_images=CONSTANT), "prepare tiny", ("datasets.tiny", "has the value 7", "check how")),
    Bad("oblong", npz(train_images=WIDE, test_images=WIDE[:12]), "prepare tiny", ("datasets.tiny", "8 x 9", "square")),
    Bad("label", npz(test_labels=np.full(12, 3)), "prepare tiny", ("test_labels has the label 3", "mend the labels")),
    Bad("negative label", npz(test_labels=np.full(12, -1)), "prepare tiny", ("test_labels has the label -1", "from 0")),
    Bad("pickles", npz(train_labels=np.array([{}] * 29)), "prepare tiny", ("tiny.npz holds pickled objects", "plain arrays")),
    Bad("cut npz", cut("data/raw/tiny.npz"), "prepare tiny", ("tiny.npz is not an intact .npz", "save it again")),
    Bad("unknown data", lambda p: None, "prepare tyni", ("datasets.tyni", "did you mean 'tiny'?")),
    Bad("unknown buffer", lambda p: None, "experts tyni", ("experts.tyni", "did you mean 'tiny'?")),
    Bad("unknown cell", lambda p: None, "distill dm-tinny-1", ("'dm-tinny-1'", "did you mean 'dm-tiny-1'?")),
    Bad("unknown report", lambda p: None, "report tyni", ("tyni", "tiny")),
    Bad("other stage", lambda p: None, "distill evaluate@dm-tiny-1", ("'evaluate@dm-tiny-1'", "distill@<key>", "give a key")),
    Bad("unknown further", lambda p: None, "evaluate further@dm-tiny-1-other-agian", ("dm-tiny-1-other-agian", "did you mean")),
    Bad("explain", lambda p: None, "explain dm-tinny-1", ("'dm-tinny-1'", "did you mean 'dm-tiny-1'?")),
    # what a run meets
    Bad("loss is NaN", params("methods.dm", {"outer": {"images": {"lr": 1e38}}, "iterations": 9}), "distill dm-tiny-1", ("outer.images.lr", "1e+38", "not a number", "lower it")),
    Bad("training is NaN", params("protocols.quick.lr", 1e38), "evaluate random-tiny-1", ("protocols.quick.lr", "lower it")),
    Bad("experts are NaN", params("experts.tiny.lr", 1e38), "experts tiny", ("experts.tiny.lr", "lower it")),
    Bad("outer groups", params("methods.dm", {"outer": {"codes": {"lr": 1.0, "momentum": 0.0}}}), "distill dm-tiny-1", ("outer", "codes", "name exactly these")),
    Bad("no CUDA", params("run.device", "cuda"), "distill dm-tiny-1", ("run.device", "'auto' or 'cpu'")),
    # damaged and missing files
    Bad("no prepared data", remove(DATA), "distill dm-tiny-1", (DATA, "does not exist", "dvc repro prepare@tiny")),
    Bad("cut prepared data", cut(DATA), "distill dm-tiny-1", (DATA, "cut short", "dvc repro prepare@tiny")),
    Bad("cut prepared data, check", cut(DATA), "check", (DATA, "damaged", "dvc repro prepare@tiny")),
    Bad("cut data.json", cut("data/prepared/tiny/data.json"), "check", ("data.json", "not valid JSON", "prepare@tiny")),
    Bad("no experts", remove("data/experts/tiny/experts.json"), "distill herding-tiny-1", ("experts.json", "experts@tiny")),
    Bad("cut expert", cut("data/experts/tiny/0.safetensors"), "distill herding-tiny-1", ("0.safetensors", "experts@tiny")),
    Bad("no set", remove("data/distilled/dm-tiny-1/0.safetensors"), "evaluate dm-tiny-1", ("dm-tiny-1/0.safetensors", "does not exist", "distill@dm-tiny-1")),
    Bad("cut set", cut("data/distilled/dm-tiny-1/0.safetensors"), "evaluate dm-tiny-1", ("dm-tiny-1/0.safetensors", *CUT_SHORT)),
    Bad("cut set, export", cut("data/distilled/dm-tiny-1/0.safetensors"), "export dm-tiny-1 out", ("dm-tiny-1/0.safetensors", *CUT_SHORT)),
    Bad("cut set, rows", cut("data/distilled/random-tiny-1/1.safetensors"), "evaluate random-tiny-1", ("random-tiny-1/1.safetensors", "cut short")),
    Bad("cut distilled.json", cut("data/distilled/dm-tiny-1/distilled.json"), "evaluate dm-tiny-1", ("distilled.json is not valid JSON", "distill@dm-tiny-1")),
    Bad("other data", other_data, "evaluate dm-tiny-1", ("data/distilled/dm-tiny-1", "other images", "dvc repro distill@dm-tiny-1")),
    Bad("other data, rows", other_data, "evaluate random-tiny-1", ("data/distilled/random-tiny-1", "other images")),
    Bad("no such set", lambda p: None, "export dm-tiny-1 out --set 4", ("dm-tiny-1 holds sets 0 to 0",)),
    Bad("export over", lambda p: None, "export dm-tiny-1 data", ("data exists", "name a new folder")),
    Bad("cut result", cut("data/results/tiny/dm-tiny-1.small.quick.json"), "report tiny", ("dm-tiny-1.small.quick.json", "evaluate")),
    Bad("linked picture", linked(f"{RESULT}.png"), "report tiny", ("dm-tiny-1.png", "leads out of", "remove it")),
    Bad("linked picture, page", linked(f"{RESULT}.png"), "page", ("dm-tiny-1.png", "leads out of", "remove it")),
    Bad("linked result", linked(f"{RESULT}.small.quick.json"), "report tiny", ("quick.json", "leads out of", "remove it")),
    Bad("linked losses", linked(f"{RESULT}.loss.csv"), "page", ("loss.csv", "leads out of", "remove it")),
    Bad("no picture", write(f"{RESULT}.png", "root:x:0:0"), "report tiny", ("dm-tiny-1.png", "damaged", "evaluate@dm-tiny-1")),
    Bad("cut picture", cut(f"{RESULT}.png"), "page", ("dm-tiny-1.png", "damaged", "evaluate@dm-tiny-1")),
    Bad("other picture", gif, "page", ("dm-tiny-1.png", "damaged", "evaluate@dm-tiny-1")),
    Bad("large picture", write(f"{RESULT}.png", "x" * 60_000), "page", ("dm-tiny-1.png", "damaged", "evaluate@dm-tiny-1")),
    Bad("pipe for a picture", pipe(f"{RESULT}.png"), "page", ("dm-tiny-1.png is no file", "remove it")),
    Bad("pipe for a result", pipe(f"{RESULT}.small.quick.json"), "report tiny", ("quick.json is no file", "remove it")),
    Bad("pipe for losses", pipe(f"{RESULT}.loss.csv"), "report tiny", ("loss.csv is no file", "remove it")),
    Bad("pipe for printed values", pipe("data/published/table1.csv"), "report tiny", ("table1.csv is no file", "remove it")),
    Bad("pipe for images", pipe("data/raw/tiny.npz"), "prepare tiny", ("tiny.npz does not exist", "name an .npz")),
    Bad("pipe for data", pipe(DATA), "distill dm-tiny-1", (DATA, "is no file")),
    Bad("pipe for data, check", pipe(DATA), "check", (DATA, "is no file")),
    Bad("pipe for experts", pipe("data/experts/tiny/0.safetensors"), "distill herding-tiny-1", ("0.safetensors is no file",)),
    Bad("pipe for a set", pipe("data/distilled/dm-tiny-1/0.safetensors"), "evaluate dm-tiny-1", ("0.safetensors is no file",)),
    Bad("pipe for distilled.json", pipe("data/distilled/dm-tiny-1/distilled.json"), "export dm-tiny-1 out", ("distilled.json is no file",)),
    Bad("pipe for a cost", pipe("data/costs/dm-tiny-1.json"), "distill dm-tiny-1", ("dm-tiny-1.json is no file",)),
    Bad("empty distilled.json", write("data/distilled/dm-tiny-1/distilled.json", "{}"), "evaluate dm-tiny-1", ("distilled.json", "distill@dm-tiny-1")),
    Bad("empty result", write("data/results/tiny/dm-tiny-1.small.quick.json", "{}"), "report tiny", ("dm-tiny-1.small.quick.json", "evaluate")),
    Bad("empty data.json", write("data/prepared/tiny/data.json", "[]"), "distill dm-tiny-1", ("data.json", "prepare@tiny")),
    Bad("empty data.json, check", write("data/prepared/tiny/data.json", "{}"), "check", ("data/prepared/tiny", "prepare@tiny")),
    Bad("cut cost", cut("data/costs/dm-tiny-1.small.quick.json"), "report tiny", ("data/costs/dm-tiny-1.small.quick.json", "not valid JSON", "or delete it")),
]  # fmt: skip


def sentences(project: Project, command: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run a command that must fail, and what it says; nothing that stages write may have changed."""
    before = project.outputs()
    code = project.run(*command.split())
    printed = capsys.readouterr().err
    assert code == 2, printed
    assert "Traceback" not in printed
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert errors and printed.splitlines()[-len(errors) :] == errors, printed
    assert len(errors) == 1 or command == "check", printed  # a mistake in a row can have others as its consequence
    assert project.outputs() == before
    return errors


@pytest.mark.parametrize("bad", TABLE, ids=[bad.name for bad in TABLE])
def test_a_mistake_is_one_sentence(bad: Bad, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    bad.make(project)
    capsys.readouterr()
    said = sentences(project, bad.command, capsys)
    assert any(all(fragment in line for fragment in bad.says) for line in said), said
    assert not (project.root / "out").exists()


def test_students_that_do_not_fit_the_objective(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records("objectives")["distribution"], "accepts", frozenset({"trajectory"}))
    [said] = sentences(project, "distill dm-tiny-1", capsys)
    assert "students: 'fresh' gives no trajectory, which objective 'distribution' needs" in said


@pytest.mark.parametrize(
    "command", ["prepare tiny", "experts tiny", "distill dc-tiny-1", "evaluate dm-tiny-1", "report tiny"]
)
@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_full_disk(
    command: str, call: str, project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(artifacts.os, call, full)
    [said] = sentences(project, command, capsys)
    assert "cannot write" in said and "No space left on device" in said and "free some space" in said


def test_a_failed_checkpoint_leaves_no_output(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN in the loss is met before the output folder takes its place, whatever was there before."""
    written = []
    monkeypatch.setattr(sets, "write", lambda *a: written.append(a))
    project.set("params.yaml", "methods.dm", {"outer": {"images": {"lr": 1e38}}, "iterations": 9})
    sentences(project, "distill dm-tiny-1", capsys)
    assert not written
    assert not list(project.root.rglob("*.tmp"))


def test_check_names_every_mistake(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    row("network", "smol")(project)
    params("reports.digits", {})(project)
    params("methods.dc", {"iterations": -1})(project)
    assert project.run("check") == 2
    errors = capsys.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in errors)
    for fragment in ("grid.dm-tiny-1.network", "reports.digits", "params.yaml:methods.dc.iterations"):
        assert sum(fragment in line for line in errors) == 1


@pytest.mark.parametrize("words", ["stages.distill dm-tiny-1", "ddpipe.cli check"])
def test_as_a_process(words: str, project: Project) -> None:
    params("methods.dm", {"iterations": -1})(project)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *words.split()], cwd=project.root, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: params.yaml:methods.dm.iterations: must be greater than or equal to 0, not -1\n"


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_itself(stage: str, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.run(stage, "--help") == 0
    said = capsys.readouterr().out
    assert "Usage:" in said and len(said.split()) > 30


@pytest.mark.parametrize("command", ["methods", "explain", "check", "plan", "export", "clean"])
def test_every_command_explains_itself(command: str, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.run(command, "--help") == 0
    said = capsys.readouterr().out
    assert "Usage:" in said and len(said.split()) > 20
