"""Mutated params.yaml and recipes: each is refused in sentences that name the key, or taken exactly as it says."""

import copy
import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, strategies
from hypothesis import settings as hypothesis
from ruamel.yaml import YAML

from ddpipe import check, config
from ddpipe.errors import UserError
from tests.unit.small_project import ROOT, Project

GONE = object()
VALUES = [
    *(0, -1, 1, 2, 3, 10**30, 1e30, -1e30, 1e-60, float("nan"), float("inf"), int("f" * 5000, 16)),
    *("", "x", "yes", "1", "none", "color_color", "flip", "dm", "tiny", "../x", "digits", "x" * 5000),
    *(None, True, False, [], {}, [[]], [1, 1], {"a": {"b": 1}}, {"name": "x"}, [None], {1: 2}),
]
OFF = (None, False, 0, "none", "default", (), {}, [])  # what a deleted key may fall back to by itself
HARMLESS = ("run", "report", "revision", "precision", "dtype")
INHERITED = ("norm", "block", "blocks", "widths", "downsampling", "keep", "standardise", "flip")  # documented defaults


def paths(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every key of nested maps and lists."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from paths(value, (*path, key))


def at(tree: Any, path: tuple) -> Any:
    for key in path:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return GONE
    return tree


def flat(tree: Any) -> dict[tuple, Any]:
    return {p: at(tree, p) for p in paths(tree) if not isinstance(at(tree, p), dict | list) or not at(tree, p)}


def taken(found: config.Config) -> dict[str, Any]:
    """All that was understood of the files, as plain trees."""
    params = found.params.model_dump(mode="json")
    return {"params.yaml": params} | {
        f"ddpipe/methods/{name}.yaml": {name: recipe.model_dump(mode="json")} for name, recipe in found.recipes.items()
    }


class Files:
    """The YAML files of a project, read once; `load` reads a changed copy of them."""

    def __init__(self, root: Path):
        self.root = root
        names = ["params.yaml", *(f"ddpipe/methods/{p.name}" for p in sorted((root / "ddpipe/methods").glob("*.yaml")))]
        self.trees = {name: config.read_yaml(root / name) for name in names}
        self.good = taken(self.load(self.trees))

    def load(self, trees: dict[str, Any]) -> config.Config:
        def read(path: Path) -> Any:
            name = str(path.relative_to(self.root))
            return copy.deepcopy(trees[name]) if name in trees else YAML(typ="safe").load(path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(config, "read_yaml", read)
            patch.setattr(check, "read_yaml", read)
            found = config.load(self.root)
            self.problems = check.problems(found)
            return found


def mutate(trees: dict[str, Any], choose: random.Random) -> tuple[str, tuple, object]:
    """Change one key of one file: where, and the value that stands there now (GONE: none)."""
    file = choose.choice([*trees, "params.yaml", "params.yaml"])
    path = choose.choice(list(paths(trees[file])))
    holder, key = at(trees[file], path[:-1]), path[-1]
    kind = choose.choice(["delete", "rename", "value", "value", "value"])
    if kind == "value":
        holder[key] = copy.deepcopy(choose.choice(VALUES))
        return file, path, holder[key]
    old = holder.pop(key)
    if kind == "rename" and isinstance(holder, dict):
        holder[f"{key}z"] = old
    return file, path, GONE


def judge(files: Files, choose: random.Random) -> config.Config | None:
    """One mutation; what was accepted must be what the file says, and everything else as it was."""
    trees = copy.deepcopy(files.trees)
    file, path, value = mutate(trees, choose)
    told = f"{file}: {path} = {str(type(value)) if isinstance(value, int) and value > 10**40 else repr(value)[:60]}"
    try:
        found = files.load(trees)
    except UserError as error:
        said = [str(error)]
    else:
        said = [sentence for sentence in files.problems if not sentence.startswith("dvc.yaml")]
    if said:
        words = {str(word) for word in path if isinstance(word, str)}
        assert any(word in sentence for sentence in said for word in words), f"{told}: {said}"
        assert all(len(sentence) < 7000 for sentence in said)
        return None
    before, after = flat(files.good), flat(taken(found))
    where = (file, *path)
    changed = {p for p in before.keys() | after.keys() if before.get(p, GONE) != after.get(p, GONE)}
    renamed = (*where[:-1], f"{where[-1]}z")
    outside = [p for p in changed if p[: len(where)] != where and p[: len(renamed)] != renamed]
    outside = [p for p in outside if where[: len(p)] != p]  # a map that lost its last key
    listed = [p for p in outside if isinstance(where[-1], int) and p[: len(where) - 1] == where[:-1]]
    assert len(outside) == len(listed), f"{told} changes {outside}"
    now = at(taken(found), where)
    if path[0] in ("grid", "evaluations") or value is GONE and len(path) < 3:
        return found
    if value is not GONE:
        if now is not GONE:
            assert now in (value, float(value) if type(value) is int else value) or isinstance(value, dict), (
                f"{told} was taken as {now!r}"
            )
    elif changed and "methods" not in path and "cells" not in path and not isinstance(path[-1], int):
        fallen = now is GONE or now in OFF or path[-1] in INHERITED or any(key in path for key in HARMLESS)
        assert fallen, f"{told} falls back to {now!r}"
    return found


@pytest.fixture(scope="module")
def shipped() -> Files:
    """The shipped files, with a few rows of each recipe."""
    files = Files(ROOT)
    for name, tree in files.trees.items():
        if name != "params.yaml":
            tree["grid"] = {key: row for key, row in (tree.get("grid") or {}).items() if "digits" in key}
            tree["evaluations"] = {k: e for k, e in (tree.get("evaluations") or {}).items() if e["dataset"] == "digits"}
    files.trees["params.yaml"]["reports"] = {"digits": {}}
    files.good = taken(files.load(files.trees))
    return files


CAREFUL: dict[str, Any] = {
    **{"derandomize": True, "database": None, "deadline": None, "phases": [Phase.generate]},
    "suppress_health_check": list(HealthCheck),
}


def test_the_small_project(project: Project) -> None:
    files = Files(project.root)
    assert files.problems == []
    accepted = 0

    @seed(0)
    @hypothesis(max_examples=500, **CAREFUL)
    @given(strategies.integers(0, 2**32))
    def tried(number: int) -> None:
        nonlocal accepted
        accepted += judge(files, random.Random(number)) is not None

    tried()
    assert accepted > 15


def test_the_shipped_files(shipped: Files) -> None:
    @hypothesis(max_examples=40, **CAREFUL)
    @given(strategies.integers(0, 2**32))
    def tried(number: int) -> None:
        judge(shipped, random.Random(number))

    tried()


def test_what_is_accepted_runs(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Accepted mutations of what dm-tiny-1 reads, run in this process: exit 0 or 2, never a traceback."""
    files, ran = Files(project.root), 0
    for number in range(400):
        trees, choose = copy.deepcopy(files.trees), random.Random(number)
        file, path, value = mutate(trees, choose)
        if ran == 6 or isinstance(value, float | int) and abs(value) > 100 or path[0] in ("seed", "reports"):
            continue
        try:
            files.load(trees)
        except UserError:
            continue
        if files.problems:
            continue
        with io.StringIO() as text:
            YAML(typ="safe", pure=True).dump(trees[file], text)
            (project.root / file).write_text(text.getvalue())
        for words in (("distill", "dm-tiny-1"), ("evaluate", "dm-tiny-1")):
            assert project.run(*words) in (0, 2), (file, path, value)
        with io.StringIO() as text:
            YAML(typ="safe", pure=True).dump(files.trees[file], text)
            (project.root / file).write_text(text.getvalue())
        ran += 1
    assert ran == 6 and "Traceback" not in capsys.readouterr().err


def test_what_no_tree_holds(project: Project) -> None:
    """A key that stands twice, and a number of 5,000 digits."""
    path = project.root / "params.yaml"
    text = path.read_text()
    for mutated in (text + "\nseed: 1\n", text + f"\nreport: {{dpi: {'9' * 5000}}}\n"):
        path.write_text(mutated)
        with pytest.raises(UserError, match=r"params\.yaml"):
            config.load(project.root)
