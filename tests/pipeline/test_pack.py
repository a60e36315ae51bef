"""Cells are packed, run by plain Python in another folder for as long as there is time, and brought home."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.project import Project

STAGES = ("distill", "evaluate")
NODE = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}  # nothing of this project's environment but the interpreter


def node(pack: Path, *words: str) -> tuple[int, str]:
    """run.py of a pack as a machine without DVC would run it."""
    done = subprocess.run(
        [sys.executable, str(pack / "run.py"), *words], env=NODE, text=True, capture_output=True, cwd=pack.parent
    )
    return done.returncode, done.stdout + done.stderr


def refused(project: Project, *command: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ddpipe"), *command],
        cwd=project.root, env=project.environment(), text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


@pytest.fixture
def grown(project: Project) -> Project:
    """A finished clone with two cells that have other numbers now."""
    with project.recipe("dm") as recipe:
        recipe["dm"]["cells"]["digits-10"] |= {"iterations": 30}
    with project.recipe("random") as recipe:
        recipe["random"]["cells"]["digits"] |= {"sets": 2}
    return project


def test_cells_go_there_and_come_back(grown: Project, tmp_path: Path) -> None:
    said = grown.call("ddpipe", "pack", "random-digits-1", "dm-digits-10", "--out", "pack")
    assert said.startswith("pack: 4 stages, ")
    order = [stage["name"] for stage in json.loads((grown.root / "pack/pack.json").read_text())["stages"]]
    assert order == [f"{stage}@{cell}" for cell in ("random-digits-1", "dm-digits-10") for stage in STAGES]
    there = tmp_path / "there"
    there.mkdir()
    shutil.move(grown.root / "pack", there / "pack")
    code, log = node(there / "pack", "--seconds", "300", "--out", "home")
    assert code == 0 and "finished: 4\n" in log, log
    shutil.copytree(there / "home", grown.root / "home")
    assert grown.call("ddpipe", "unpack", "home").startswith("taken in and recorded: 4 stages")
    shutil.rmtree(grown.root / "home")
    assert grown.repro("report@digits").ran == {"report@digits"}  # nothing of the cells
    moved = digests(grown.root)
    for path in ("data/distilled/dm-digits-10", "data/distilled/random-digits-1"):
        shutil.rmtree(grown.root / path)
    grown.dvc("repro", "--force", "--single-item", "distill@dm-digits-10", "distill@random-digits-1")
    assert digests(grown.root) == moved  # the same bytes as at home
    cost = json.loads((grown.root / "data/costs/dm-digits-10.json").read_text())["costs"]
    assert len(cost) == 2  # what was known, and what it cost there
    head = grown.call("git", "rev-parse", "HEAD").strip()  # "+": with other numbers, which are not committed
    assert f"{head}+" in {entry.get("commit") for entry in cost.values()}


def digests(root: Path) -> dict[str, str]:
    found = [path for path in (root / "data/distilled").rglob("*") if path.is_file() and path.name != ".gitignore"]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_what_is_stopped_goes_on_in_the_next_pack(grown: Project, tmp_path: Path) -> None:
    with grown.recipe("dm") as recipe:
        recipe["dm"]["cells"]["digits-10"] |= {"iterations": 30000}
    grown.call("ddpipe", "pack", "dm-digits-10", "--out", str(tmp_path / "one"))
    code, log = node(tmp_path / "one", "--seconds", "45", "--out", "home")
    assert code == 0 and "stopped: 1 (distill@dm-digits-10)" in log and "not begun: 1" in log, log
    assert grown.call("ddpipe", "unpack", str(tmp_path / "home")) == "to be gone on with: distill@dm-digits-10\n"
    found = grown.call("ddpipe", "plan", "distill@dm-digits-10")
    assert "checkpoint: " in found and " at iteration " in found
    with grown.recipe("dm") as recipe:  # the sets of fewer iterations are others: their work begins afresh
        recipe["dm"]["cells"]["digits-10"] |= {"iterations": 5}
    sentence = grown.call("ddpipe", "unpack", str(tmp_path / "home"))
    assert sentence.startswith("not taken: distill@dm-digits-10: made with other settings or code than there are now")
    assert "settings.iterations: 30000 -> 5" in sentence
    with grown.recipe("dm") as recipe:
        recipe["dm"]["cells"]["digits-10"] |= {"iterations": 30000}
    grown.call("ddpipe", "pack", "distill@dm-digits-10", "--out", str(tmp_path / "two"))
    code, log = node(tmp_path / "two", "--seconds", "45", "--out", "home")
    assert "resuming at iteration" in log


def test_what_a_pack_refuses(grown: Project, tmp_path: Path) -> None:
    assert "nothing would run" in refused(grown, "pack", "herding-digits-1")
    assert "no stage, dataset or cell 'nothing'" in refused(grown, "pack", "nothing")
    assert "a target is empty" in refused(grown, "pack", "")
    assert "--most 0.001: the pack takes" in refused(grown, "pack", "dm-digits-10", "--most", "0.001")
    assert not (grown.root / "pack").exists()
    assert "prepare@mnist: is made at home" in refused(grown, "pack", "dm-mnist-1")
    shutil.rmtree(grown.root / "data/prepared/digits")
    told = refused(grown, "pack", "distill@dm-digits-10")
    assert "data/prepared/digits: distill@dm-digits-10 reads it and it is not here" in told
    grown.dvc("checkout", "prepare@digits")
    grown.call("ddpipe", "pack", "distill@random-digits-1", "--out", str(tmp_path / "pack"))
    node(tmp_path / "pack", "--seconds", "300", "--out", "home")
    before = digests(grown.root)
    told = json.loads((tmp_path / "home/home.json").read_text())
    told["stages"][0]["writes"] = ["data/../../elsewhere"]
    hostile = tmp_path / "hostile"
    shutil.copytree(tmp_path / "home", hostile)
    (hostile / "home.json").write_text(json.dumps(told))
    assert "names 'data/../../elsewhere', which no stage writes" in refused(grown, "unpack", str(hostile))
    told["stages"][0]["writes"] = ["data/distilled/random-digits-2"]
    (hostile / "home.json").write_text(json.dumps(told))
    assert "random-digits-2; dvc.yaml says otherwise" in grown.call("ddpipe", "unpack", str(hostile))
    part = tmp_path / "home/home.00"
    part.write_bytes(part.read_bytes()[:-100])
    assert "damaged or not all here" in refused(grown, "unpack", str(tmp_path / "home"))
    (tmp_path / "home/home.json").unlink()
    assert "home.json does not exist; bring the whole folder" in refused(grown, "unpack", str(tmp_path / "home"))
    assert digests(grown.root) == before


def test_stages_import_nothing_that_is_not_packed() -> None:
    """Beside the standard library, torch, numpy and what these bring."""
    program = (
        "import sys, stages.distill, stages.evaluate, stages.experts, stages.generators, stages.prepare\n"
        "from importlib import metadata\n"
        "from ddpipe.packing.pack import required\n"
        "owners = metadata.packages_distributions()\n"
        "named = {owner for name in list(sys.modules) if '.' not in name for owner in owners.get(name, ())}\n"
        "base = required(['torch', 'numpy']) | required()\n"
        "print(sorted(n for n in named if n.lower().replace('_', '-') not in base))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, text=True, capture_output=True, check=True)
    assert set(json.loads(done.stdout.replace("'", '"'))) <= {
        "ddpipe",
        "setuptools",
        "pydot",
        "ruamel.yaml.clib",
    }  # none needed
