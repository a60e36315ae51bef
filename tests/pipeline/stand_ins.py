"""Stages that only write what dvc.yaml says of them, in milliseconds: for tests and times of what runs stages.

`stand_in.json` in the clone tells them: the outputs of every stage, which of them fail or wait, and how often each ran
stands in `ran.txt`.
"""

import json
from copy import deepcopy
from typing import Any

from ruamel.yaml import YAML

from tests.pipeline.project import Project

PROGRAM = """
import atexit, json, os, pathlib, signal, sys, time

name = os.environ["DVC_STAGE"]
told = json.loads(pathlib.Path("stand_in.json").read_text())
with open("ran.txt", "a") as file:
    file.write(name + "\\n")
noted = pathlib.Path("running", name)
noted.parent.mkdir(exist_ok=True)
noted.touch()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
atexit.register(noted.unlink)
while name in told["waits"] and not pathlib.Path("go").exists():
    time.sleep(0.01)
if name in told["fails"]:
    print(f"{name} cannot", file=sys.stderr)
    sys.exit(3)
for path in map(pathlib.Path, told["outs"][name]):
    file = path if path.suffix else path / "content.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"stage": name, "number": told["numbers"].get(name, 0)}))
"""


RESOLVE = """
import os

with open("ran.txt", "a") as file:
    file.write(os.environ["DVC_STAGE"] + "\\n")
from ddpipe.config import load
from ddpipe.pipeline.resolved import everything, write

write(dict(everything(load())))
"""


def stand_in(project: Project) -> None:
    """Put stand-ins in the place of the stages' programs, but for `resolve`: what a change makes stale is real."""
    from dvc.repo import Repo

    folder = project.root / "stages"
    for path in folder.glob("*.py"):
        path.write_text({"__init__.py": "", "resolve.py": RESOLVE}.get(path.name, PROGRAM))
    with Repo(str(project.root)) as repo:
        read = {dep.def_path for stage in repo.index.stages for dep in stage.deps}
        outs = {stage.name: [out.def_path for out in stage.outs] for stage in repo.index.stages}
    for paths in outs.values():  # and what others read of an output folder
        paths += sorted(path for path in read if any(path.startswith(f"{out}/") for out in paths))
    tell(project, outs=outs, waits=[], fails=[], numbers={})


def tell(project: Project, **said: Any) -> None:
    path = project.root / "stand_in.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | said))


def ran(project: Project) -> list[str]:
    """The stages that ran since the last question, in the order of their start."""
    path = project.root / "ran.txt"
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return names


def resize(project: Project, count: int) -> None:
    """Bring the grid to `count` rows: those that it has, then the same at further budgets.

    Each row is two stages. Where there are more than `count`, the last are left out, and the reports without a row.
    """
    root, yaml = project.root, YAML(typ="safe")
    recipes = {path: yaml.load(path) for path in sorted((root / "ddpipe/methods").glob("*.yaml"))}
    known = [(path, key) for path, recipe in recipes.items() for key in recipe["grid"]]
    for path, key in known[count:]:
        del recipes[path]["grid"][key]
    rows = [(path, recipes[path]["grid"][key]) for path, key in known[:count]]
    models = list({(row["method"], row["dataset"]): (path, row) for path, row in rows if row["ipc"] != "all"}.values())
    for number in range(count - len(known)):
        path, row = models[number % len(models)]
        row = deepcopy(row) | {"ipc": 1000 + number // len(models)}
        recipes[path]["grid"]["{method}-{dataset}-{ipc}".format(**row)] = row
    for path, recipe in recipes.items():
        kept = {key for other in recipes.values() for key in other["grid"]}
        for table in {"evaluations", "courses"} & recipe.keys():
            entries = recipe[table] or {}
            recipe[table] = {key: entry for key, entry in entries.items() if entry["cell"] in kept}
        yaml.default_flow_style = None
        with path.open("w") as file:
            yaml.dump(recipe, file)
    datasets = {row["dataset"] for recipe in recipes.values() for row in recipe["grid"].values()}
    with project.params() as params:
        params["reports"] = {key: entry for key, entry in params["reports"].items() if key in datasets}
        places = [project.root / chosen["path"] for chosen in params["own"].values()]
    for place in places:  # whose stages read something
        place.mkdir(parents=True)
        (place / "images.txt").write_text("")
