"""A temporary clone of this project with small numbers, driven through the real `dvc` and the real stage commands."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tests.tracked import TRACKED

SOURCE = Path(__file__).parents[2]
REMADE = (
    "dvc.lock",
    "data/results/",
    "data/costs/",
    "data/metrics/",
    "reports/",
    "tests/",
)  # what a clone makes anew or does not need
CELLS = ("random-digits-1", "herding-digits-1", "dm-digits-1", "dm-digits-10", "dc-digits-1")  # what a clone runs
NEVER_RUN = "dm-mnist-1"  # a row of the grid that nobody has computed


class Repro(NamedTuple):
    """What one `dvc repro` did: stages whose command ran, and stages restored from the run-cache.

    `resolve` is left out: it runs for a second after any change of methods, recipes or code (test_programs.py).
    """

    ran: set[str]
    restored: set[str]


@dataclass(frozen=True)
class Project:
    root: Path
    home: Path  # of git's and DVC's user files, so that the real ones play no part

    def environment(self) -> dict[str, str]:
        own = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.home / "dvc"),
            "COLUMNS": "200",
        }
        return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | own

    def call(self, *command: str) -> str:
        """Run a command in the clone; its standard output and error together. A failure fails the test."""
        done = subprocess.run(
            command, cwd=self.root, env=self.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        return self.call(str(Path(sys.executable).parent / "dvc"), *arguments)

    def repro(self, *arguments: str) -> Repro:
        return outcome(self.dvc("repro", *arguments))

    def commit(self, message: str) -> None:
        self.call("git", "add", "--all")
        self.call("git", "commit", "--quiet", "--message", message)

    def start_stage(self, name: str, *arguments: str) -> "subprocess.Popen[str]":
        """A stage's command in a process group of its own; its log is on standard error."""
        return subprocess.Popen(
            [sys.executable, "-m", f"stages.{name}", *arguments],
            **{"cwd": self.root, "env": self.environment(), "start_new_session": True},
            **{"text": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE},
        )

    @contextmanager
    def edit(self, path: str) -> Iterator[Any]:
        """A YAML file of the clone as nested mappings, written back when the block ends."""
        yaml = YAML()
        yaml.preserve_quotes = True
        tree = yaml.load(self.root / path)
        yield tree
        yaml.dump(tree, self.root / path)

    def params(self) -> Any:
        return self.edit("params.yaml")

    def recipe(self, name: str) -> Any:
        return self.edit(f"ddpipe/methods/{name}.yaml")

    def copy(self, root: Path) -> "Project":
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root, self.home)


def outcome(log: str) -> Repro:
    return Repro(
        set(re.findall(r"^Running stage '([^']+)'", log, re.MULTILINE)) - {"resolve"},
        set(re.findall(r"^Stage '([^']+)' is cached - skipping run", log, re.MULTILINE)) - {"resolve"},
    )


def cell_stages(*cells: str) -> set[str]:
    """The stages that make the results of `cells`."""
    return {f"{stage}@{cell}" for cell in cells for stage in ("distill", "evaluate")}


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Relative path -> contents of every file below `folder`."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def clone(root: Path, home: Path, change: Callable[[Project], None] | None = None) -> Project:
    """The code as it lies here (uncommitted work too) and all else as git has it, with the numbers of `change`
    (`shrink`), committed to git of its own."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
    code = subprocess.run(listed, cwd=SOURCE, check=True, capture_output=True).stdout.decode().split("\0")
    rest = [str(path.relative_to(TRACKED)) for path in TRACKED.rglob("*") if path.is_file()]
    for source, paths in ((TRACKED, rest), (SOURCE, filter(None, code))):
        for path in paths:
            if not path.startswith(REMADE) and (source / path).is_file():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / path, root / path)
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text("[user]\n name = test\n email = test@localhost\n[init]\n defaultBranch = main\n")
    project = Project(root, home)
    (change or shrink)(project)
    project.call("git", "init", "--quiet")
    project.commit("A project of seconds")
    return project


def shrink(project: Project) -> None:
    """Five cells of digits with a handful of iterations, and one of mnist that never runs.

    dc has a network and random a protocol of its own, so that a change of either has something to leave alone.
    """
    with project.params() as params:
        params["run"] = {
            "device": "cpu",
            "threads": 1,
            "checkpoint_every": 1,
            "checkpoint_seconds": 0.0,
            "log_every": 1,
        }
        params["networks"]["small"] = {
            "kind": "convnet",
            "depth": 1,
            "width": 4,
            "norm": "instance",
            "initialisation": "default",
        }
        params["own"] = {}
        known = params["datasets"].keys()
        params["experts"] = {key: entry for key, entry in params["experts"].items() if entry["data"] in known}
        params["experts"]["digits"] |= {"networks": 1, "epochs": 1}
        for protocol in params["protocols"].values():
            protocol |= {"networks": 1} | ({"epochs": 2} if "epochs" in protocol else {})
        params["reports"] = {"digits": {}}
        params["report"]["dpi"] = 50
        params |= {"evaluations": {}, "courses": {}}
        params["grid"] = {}
    numbers = {
        **{"random": {"digits": {"sets": 1}}, "herding": {"digits": {"sets": 1}}},
        **{"dm": {"digits-1": quick(), "digits-10": quick()}, "dc": {"digits-1": quick()}},
    }
    for method in (path.stem for path in (project.root / "ddpipe/methods").glob("*.yaml")):
        with project.recipe(method) as recipe:
            kept = [cell for cell in recipe["grid"] if cell in (*CELLS, NEVER_RUN)]
            recipe["grid"] = {cell: recipe["grid"][cell] for cell in kept}
            recipe |= {table: {} for table in ("evaluations", "courses") if table in recipe}
            recipe[method]["cells"] |= numbers.get(method, {})
            if method == "dc":
                recipe["grid"]["dc-digits-1"] |= {"student": "small", "network": "small"}
            if method == "random":
                recipe["grid"]["random-digits-1"]["protocol"] = "dc"


def quick() -> dict[str, int]:
    return {"iterations": 2, "real_batch": 16, "sets": 1}
