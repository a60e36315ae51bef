"""Mutated params.yaml and recipes: each is refused in sentences that name the key, or taken exactly as it says.

What files say is read here a second time, by `said`; what the program makes of them is `understood`. Both are flat maps
of paths, so that a mutation can be followed from the key in its file to every cell, protocol and network it changes.
"""

import copy
import io
import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, strategies
from hypothesis import settings as hypothesis
from ruamel.yaml import YAML

from ddpipe import config, settings
from ddpipe.checks import project
from ddpipe.checks.project import problems
from ddpipe.config import ORIGINS
from ddpipe.errors import UserError
from ddpipe.settings.part import records
from tests.tracked import TRACKED
from tests.unit.small_project import Project

GONE = object()
VALUES = [
    *(0, -1, 1, 2, 3, 10**30, 1e30, -1e30, 1e-60, float("nan"), float("inf"), int("f" * 5000, 16)),
    *("", "x", "yes", "1", "none", "color_color", "flip", "dm", "tiny", "../x", "digits", "x" * 5000),
    *(None, True, False, [], {}, [[]], [1, 1], {"a": {"b": 1}}, {"name": "x"}, [None], {1: 2}),
]
KINDS = ("delete", "rename", "value", "near")
PARTS = [kind for family in ("objectives", "students", "synthetic") for kind in records(family).values()]
CHUNKS = {kind.model_fields["chunk"].default for kind in PARTS if "chunk" in kind.model_fields}  # memory only
LEFT_OUT: dict[str, Any] = {  # what a key is when no file names it; any other must be named
    **{
        "revision": 1,
        "precision": "float32",
        "dtype": "float32",
        "kind": "distillation",
        "scope": "class",
    },  # the plain case
    "init": "real",  # a hallucinator's bases have no other start
    "standardise": "biased",  # the unbiased deviation of so many pixels differs in the fifth digit
    **{"regularisation": 0.1, "relative": False, "centred": True, "ddof": 1},  # whitening: {} names MTT's convention
    "flip": True,  # of published photographs; sources of digits, and images of one's own, have a rule of their own
    # a feature that nobody asked for is not there
    **{"per_image": False, "grey": False, "prepended": False, "cutmix": 0.0, "extra_epoch": False, "learned_lr": False},
    **{"warmup": None, "whitening": None, "flat": None, "average": None, "regulariser": None, "excess": False},
    **{"factor": 1.0, "soft_labels": False},  # TESLA's; its gradient must name them
    # no restriction: all classes, images as they are, all sets, all images a step, as many bases as the IPC
    **{"classes": None, "resolution": None, "sets": None, "batch": None, "bases": None, "channels": None},
    **{"blocks": None, "examples": None},  # what a step of an unrolled training sees: one of them must be named
    **{"warm": None, "start": None, "codes": None},  # no other beginning; as many codes as fit
    **{"first_padding": None, "mean": None, "std": None},  # of the image's size; `standardise: given` must name them
    **{"path": None, "test_fraction": None},  # the source, or its file, has both parts
    **{"code": None, "notes": [], "device": "auto", "threads": 1, "together": 0, "compile": False},  # no number
    **{"checkpoint_every": 1, "checkpoint_seconds": 60.0, "log_every": 50, "dpi": 120, "images_per_class": 10},
}


def paths(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every key of nested maps and lists."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from paths(value, (*path, key))


def at(tree: Any, path: tuple) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def flat(tree: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """The leaves; a list is one, and an empty map is none."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from flat(value, (*path, key))
    else:
        yield path, list(tree) if isinstance(tree, tuple) else tree


def over(base: Any, change: Any) -> Any:
    """`change` over `base`, as README explains it: a new name is a new part, a null takes a key out."""
    if (
        not isinstance(base, dict)
        or not isinstance(change, dict)
        or change.get("name", base.get("name")) != base.get("name")
    ):
        return change
    return base | {key: over(base.get(key), value) for key, value in change.items()}


def named(tree: Any) -> Any:
    """Less the nulls."""
    return {k: named(v) for k, v in tree.items() if v is not None} if isinstance(tree, dict) else tree


def of_size(cell: dict, ipc: int | str) -> dict:
    """What a cell of a recipe says for so many images per class: nearest by ratio, the largest for all images."""
    table = cell.get("by_ipc", {"1": {}})
    sizes = sorted(map(int, table))
    size = sizes[-1] if ipc == "all" else min(sizes, key=lambda n: abs(math.log(n / ipc)))
    return over({k: v for k, v in cell.items() if k != "by_ipc"}, table[str(size)])


def whole(trees: dict[str, Any], told: dict[Any, Any], key: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row with what its key tells where it does not say it: it must name the five words that DVC reads."""
    methods = trees["params.yaml"]["methods"]
    found = [(m, d) for m in methods for d in told["datasets"] if key.startswith(f"{m}-{d}-")]
    method, dataset = row.get("method"), row["dataset"]
    if found and method is None:
        method = next(m for m, d in found if d == dataset)
    size, _, variant = key.removeprefix(f"{method}-{dataset}-").partition("-")
    ipc = row.get("ipc", int(size) if size.isdecimal() else size)
    recipe = row.get("recipe", (methods.get(method) or {}).get("base", method))
    cells = trees[f"ddpipe/methods/{recipe}.yaml"][recipe]["cells"]
    cell = next(name for name in (f"{dataset}-{ipc}", dataset, "default") if name in cells)
    rest = {"method": method, "recipe": recipe, "cell": cell, "ipc": ipc, "student": row["network"]}
    return rest | ({"variant": variant} if variant else {}) | row


def said(trees: dict[str, Any]) -> dict[tuple, Any]:
    """What the files say of everything that is used."""
    params = trees["params.yaml"]
    recipes = {Path(name).stem: tree for name, tree in trees.items() if name != "params.yaml"}
    tables = ("seed", "run", "datasets", "networks", "experts", "generators", "reports", "report")
    told: dict[Any, Any] = {key: params[key] for key in tables if key in params}
    told["datasets"] = params["datasets"] | (params.get("own") or {})
    rows = [tree.get("grid") or {} for tree in (params, *recipes.values())]
    further = [tree.get("evaluations") or {} for tree in (params, *recipes.values())]
    told["rows"] = {key: whole(trees, told, key, row) for table in rows for key, row in table.items()}
    told["evaluations"] = {key: entry for table in further for key, entry in table.items()}
    watched = [tree.get("courses") or {} for tree in (params, *recipes.values())]
    told["courses"] = {key: entry for table in watched for key, entry in table.items()}
    for name, protocol in params["protocols"].items():
        plain, exceptions = {k: v for k, v in protocol.items() if k != "exceptions"}, protocol.get("exceptions", {})
        for dataset in told["datasets"]:
            told["protocols", name, dataset] = named(over(plain, exceptions.get(dataset, {})))
    for name, tree in recipes.items():
        about = tree[name]
        told["recipes", name] = {key: value for key, value in about.items() if key not in ("parts", "cells")}
        for cell, table in about["cells"].items():
            for ipc in map(int, table.get("by_ipc", {"1": {}})):
                told["cells of recipes", name, cell, ipc] = named(over(about["parts"], of_size(table, ipc)))
    changes = {
        name: {k: v for k, v in change.items() if k not in ORIGINS} for name, change in params["methods"].items()
    }
    for name, change in params["methods"].items():
        parts = recipes[change.get("base", name)][change.get("base", name)]["parts"]
        told["methods", name] = named(over(parts, changes[name]))
    for cell, row in told["rows"].items():
        recipe = recipes[row["recipe"]][row["recipe"]]
        own = over(over(recipe["parts"], of_size(recipe["cells"][row["cell"]], row["ipc"])), changes[row["method"]])
        kept = {"snapshots": told["courses"][cell]["snapshots"]} if cell in told["courses"] else {}
        told["cells", cell] = named(over(own, kept))
    return {(*(p[0] if isinstance(p[0], tuple) else p[:1]), *p[1:]): value for p, value in flat(told)}


def understood(found: config.Config) -> dict[tuple, Any]:
    """What the program makes of it, less what nothing reads."""
    params = found.params
    seen: dict[Any, Any] = {
        "rows": found.rows,
        "evaluations": found.evaluations,
        "courses": found.courses,
        "seed": params.seed,
    }
    for key in ("run", "datasets", "networks", "experts", "generators", "reports", "report"):
        seen[key] = getattr(params, key)
    for name in params.protocols:
        for dataset in params.datasets:
            seen["protocols", name, dataset] = found.protocol(name, dataset)
    for name, recipe in found.recipes.items():
        seen["recipes", name] = recipe.model_dump(exclude={"parts", "cells"})
        for cell in recipe.cells:
            for ipc in recipe.told_apart(cell) or [1]:
                layers = [("parts", recipe.parts), *recipe.layers(cell, ipc)]
                seen["cells of recipes", name, cell, ipc] = config.resolve(layers)
    for name, change in params.methods.items():
        change = {key: value for key, value in change.items() if key not in ORIGINS}
        parts = found.recipes[params.methods[name].get("base", name)].parts
        seen["methods", name] = config.resolve([("parts", parts), ("method", change)])
    for cell in found.rows:
        seen["cells", cell] = found.resolved(cell)
    return {(*(p[0] if isinstance(p[0], tuple) else p[:1]), *p[1:]): value for p, value in flat(read(seen))}


def read(tree: Any) -> Any:
    """Settings as plain values, less what nothing reads."""
    if not isinstance(tree, settings.Settings):
        return {key: read(value) for key, value in tree.items()} if isinstance(tree, dict) else tree
    idle = {"exceptions"} | (tree.quiet - tree.model_fields_set)
    if isinstance(tree, settings.Training) and tree.drop == "never":
        idle.add("drop_resets_momentum")
    if isinstance(tree, settings.SetTraining) and tree.learned_lr:
        idle.add("lr")
    if isinstance(tree, settings.Distillation) and not tree.objective.draws_real:
        idle.add("real_batch")
    return {key: read(getattr(tree, key)) for key in type(tree).model_fields if key not in idle}


class Files:
    """The YAML files of a project, read once; `load` reads a changed copy of them."""

    def __init__(self, root: Path):
        self.root = root
        names = ["params.yaml", *(f"ddpipe/methods/{p.name}" for p in sorted((root / "ddpipe/methods").glob("*.yaml")))]
        self.trees = {name: config.read_yaml(root / name) for name in names}
        self.dvc = config.read_yaml(root / "dvc.yaml")
        self.remember()

    def remember(self) -> None:
        """That the files are as they should be: what follows is compared with them."""
        found = self.load(self.trees)
        assert told_of(self.problems) == []
        self.said, self.understood = said(self.trees), understood(found)

    def load(self, trees: dict[str, Any]) -> config.Config:
        def read(path: Path) -> Any:
            return trees.get(str(path.relative_to(self.root)), self.dvc)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(config, "read_yaml", read)
            patch.setattr(project, "read_yaml", read)
            found = config.load(self.root)
            self.problems = problems(found)
            return found


def near(old: Any, key: object, trees: dict[str, Any], choose: random.Random) -> Any:
    """Another value of the same kind: a number not far away, or what stands under this key elsewhere."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int | float):
        return choose.choice([old + 1, old * 2, old / 2, old * 1.5])
    others = [at(tree, path) for tree in trees.values() for path in paths(tree) if path[-1] == key]
    return copy.deepcopy(choose.choice([value for value in others if value != old] or [None]))


def mutate(trees: dict[str, Any], choose: random.Random) -> tuple[dict[str, Any], str, tuple, str]:
    """Change one key of one file: all files, the file, the path of the key and how it changed."""
    file = choose.choice([*trees, "params.yaml", "params.yaml"])
    path = choose.choice(list(paths(trees[file])))
    trees = trees | {file: unshared(trees[file])}
    holder, key = at(trees[file], path[:-1]), path[-1]
    kind = choose.choice(KINDS)
    if kind == "value":
        holder[key] = copy.deepcopy(choose.choice(VALUES))
    elif kind == "near":
        holder[key] = near(holder[key], key, trees, choose)
    else:
        old = holder.pop(key)
        if kind == "rename" and isinstance(holder, dict):
            holder[f"{key}z"] = old
    return trees, file, path, kind


def unshared(tree: Any) -> Any:
    """A copy in which what an alias repeats stands by itself: one place is changed, not all that share it."""
    if isinstance(tree, dict):
        return {key: unshared(value) for key, value in tree.items()}
    return [unshared(value) for value in tree] if isinstance(tree, list) else tree


def names(sentence: str, file: str, path: tuple) -> bool:
    """Whether a sentence names the key: its last word, and with it the file or an entry that it stands in."""
    words = [str(word) for word in path if isinstance(word, str)]
    around = [*words[:-1], *([file] if file != "params.yaml" or len(words) < 2 else [])]

    def holds(word: str) -> bool:
        return re.search(rf"(?<![\w-]){re.escape(word)}z?(?![\w-])", sentence) is not None

    if words[-1] == "base":  # of another recipe: it is what the method changes of it that does not fit
        return holds(words[-2])
    if words[-1] == "parts" and not holds("parts"):  # of another method: it is what a cell changes that does not fit
        return holds(file) and holds("cells")
    return holds(words[-1]) and (path == (words[-1],) or any(holds(word) for word in around))


def told_of(problems: list[str]) -> list[str]:
    """What is said of what stands in the files; baselines that lack are said to do so of the sets that need them."""
    return [sentence for sentence in problems if not re.search(r"^dvc\.yaml|: a distilled set of ", sentence)]


def same(one: Any, other: Any) -> bool:
    """A file may write a whole number where a broken one is meant."""
    if isinstance(other, int) and isinstance(one, float):
        other = float(other)
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def judge(files: Files, choose: random.Random) -> tuple[str, str]:
    """One mutation: its kind, and what became of it."""
    trees, file, path, kind = mutate(files.trees, choose)
    try:
        told = f"{file}: {kind} {path}, now {repr(at(trees[file], path))[:60]}"
    except (KeyError, IndexError, ValueError):
        told = f"{file}: {kind} {path}"
    try:
        found = files.load(trees)
    except UserError as error:
        sentences = [str(error)]
    else:
        sentences = told_of(files.problems)
    if sentences:
        assert any(names(sentence, file, path) for sentence in sentences), f"{told}: {sentences[:5]}"
        assert all(len(sentence) < 7000 for sentence in sentences)
        return kind, "refused"
    follow(files, said(trees), understood(found), told)
    return kind, "accepted"


def follow(files: Files, after: dict[tuple, Any], now: dict[tuple, Any], told: str) -> None:
    """What was accepted is what the files say, and what they do not say is as it was, or what LEFT_OUT says."""
    changed = {p for p in after.keys() | files.said.keys() if not same(after.get(p, GONE), files.said.get(p, GONE))}
    for place, value in after.items():
        objective = records("objectives").get(after.get((*place[:-1], "objective", "name")))
        if place[0] == "methods" and place[-1] == "real_batch" and objective and not objective.draws_real:
            continue  # nothing reads it; a method that has rows is told so
        assert same(now.get(place, GONE), value), f"{told}: {place} was taken as {now.get(place)!r}, not {value!r}"
    for place in now.keys() | files.understood.keys():
        value = now.get(place, GONE)
        if place in after or same(value, files.understood.get(place, GONE)):
            continue
        if value is GONE:
            assert any(p[: len(place) - 1] == place[:-1] for p in changed), f"{told}: {place} is lost"
        else:
            key = place[-1]
            usual = value in CHUNKS if key == "chunk" else key in LEFT_OUT and same(value, LEFT_OUT[key])
            usual |= place[-2:] == ("schedule", "warmup") and value == 0  # a schedule that begins where it is highest
            assert usual, f"{told}: {place} falls back to {value!r}"


CAREFUL: dict[str, Any] = {
    **{"derandomize": True, "database": None, "deadline": None, "phases": [Phase.generate]},
    "suppress_health_check": list(HealthCheck),
}


def judge_many(files: Files, examples: int) -> None:
    seen: Counter[tuple[str, str]] = Counter()

    @hypothesis(max_examples=examples, **CAREFUL)
    @given(strategies.integers(0, 2**32))
    def tried(number: int) -> None:
        seen[judge(files, random.Random(number))] += 1

    tried()
    assert {kind for kind, end in seen if end == "refused"} == set(KINDS)
    assert {kind for kind, end in seen if end == "accepted"} >= {"delete", "near"}, "most values of VALUES fit nowhere"


def test_the_small_project(project: Project) -> None:
    judge_many(Files(project.root), 500)


def test_the_shipped_files() -> None:
    """With the rows of digits alone; every recipe, method, network, buffer and protocol stays."""
    files = Files(TRACKED)
    for name, tree in files.trees.items():
        if name != "params.yaml":
            tree["grid"] = {key: row for key, row in (tree.get("grid") or {}).items() if "digits" in key}
            for table in ("evaluations", "courses"):
                tree[table] = {k: e for k, e in (tree.get(table) or {}).items() if e["dataset"] == "digits"}
    files.trees["params.yaml"]["reports"] = {"digits": {}}
    files.remember()
    judge_many(files, 250)


def test_what_is_accepted_runs(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Accepted mutations of what dm-tiny-1 reads, run in this process: exit 0 or 2, never a traceback."""
    files, ran = Files(project.root), 0
    for number in range(400):
        trees, file, path, kind = mutate(files.trees, random.Random(number))
        if ran == 6:
            break
        try:
            files.load(trees)
            value = at(trees[file], path) if kind in ("value", "near") else None
        except UserError:
            continue
        if files.problems or path[0] in ("seed", "reports") or isinstance(value, float | int) and abs(value) > 100:
            continue
        text = (project.root / file).read_text()
        with io.StringIO() as mutated:
            YAML(typ="safe", pure=True).dump(trees[file], mutated)
            (project.root / file).write_text(mutated.getvalue())
        for words in (("distill", "dm-tiny-1"), ("evaluate", "dm-tiny-1")):
            assert project.run(*words) in (0, 2), (file, path, value)
        (project.root / file).write_text(text)
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
