"""What DVC's own commands show: a line a method and nothing else, without network; and they push what is there."""

import csv
import json
import re
from pathlib import Path

import pytest

from ddpipe.pipeline import record
from tests.pipeline.project import NEVER_RUN, Project


def test_metrics_are_means_by_method_and_ipc(project: Project) -> None:
    """Of a grid with a cell that nobody computed, of which not a word is said."""
    header, *lines = project.dvc("metrics", "show").splitlines()
    assert header.split() == ["Path", "1.mean", "10.mean"]  # one network each: no std
    assert [line.split()[0] for line in lines] == [
        f"data/metrics/digits/{method}.json" for method in ("dc", "dm", "herding", "random")
    ]
    assert max(map(len, (header, *lines))) < 100

    path = project.root / "data/metrics/digits/dm.json"
    means = json.loads(path.read_text())
    report = csv.DictReader((project.root / "reports/digits/cells.csv").read_text().splitlines())
    assert {row["ipc"]: float(row["mean"]) for row in report if row["method"] == "dm"} == pytest.approx(
        {ipc: numbers["mean"] for ipc, numbers in means.items()}, abs=0.006
    )
    means["10"]["mean"] += 1.5
    path.write_text(json.dumps(means))
    [change] = json.loads(project.dvc("metrics", "diff", "--json")).values()
    assert change["10.mean"]["diff"] == pytest.approx(1.5) and len(change) == 1


def test_experiments_show_no_seconds_and_no_single_results(project: Project) -> None:
    columns = next(csv.reader(project.dvc("exp", "show", "--csv").splitlines()))
    means = {f"data/metrics/digits/{method}.json:1.mean" for method in ("dc", "dm", "herding", "random")}
    found = {name for name in columns if name.endswith((".mean", ".std")) and not name.startswith("datasets.")}
    assert found == {*means, "10.mean"}, "DVC leaves the file out where one file has the number"
    assert not [name for name in columns if re.search("peak_memory|versions|accuracies", name)]


def test_plots_need_no_network(project: Project) -> None:
    assert "failed" not in project.dvc("plots", "show", "--out", "plots")
    page = (project.root / "plots/index.html").read_text()
    assert "http" not in page and "<script" not in page
    shown = re.findall(r'src="([^"]+)"', page)
    assert len(shown) == 2 and all((project.root / "plots" / path).is_file() for path in shown)


def test_push_lists_nothing_that_others_computed(project: Project, tmp_path: Path) -> None:
    """dvc.lock names outputs that were never here: `--with-deps` pushes all that a report needs, and no more."""
    path = project.root / "dvc.lock"
    text = path.read_text()
    other = record.entries(text)["distill@dm-digits-1"].replace("dm-digits-1", NEVER_RUN)
    md5 = re.search(r"outs:.*md5: (\w+)", other, re.DOTALL)
    path.write_text(text + other.replace(md5[1], "0" * 32))
    project.dvc("remote", "add", "--default", "storage", str(tmp_path / "storage"))
    assert "Missing cache files" in project.dvc("push")
    project.dvc("remote", "add", "--default", "--force", "storage", str(tmp_path / "other"))
    said = project.dvc("push", "--with-deps", "report@digits")
    assert "pushed" in said and "issing" not in said and "WARNING" not in said
    names = {p.name for p in (tmp_path / "storage").rglob("*") if p.is_file()}
    assert names == {p.name for p in (tmp_path / "other").rglob("*") if p.is_file()}
