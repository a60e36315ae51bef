"""The report of a small project: joins, marks, missing and damaged results, the three formats, equal bytes."""

import csv
import io
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ddpipe import config
from ddpipe.errors import UserError
from ddpipe.files.artifacts import write_bytes, write_sealed, write_text
from ddpipe.report import frame, page, pictures, published, survey, tables
from ddpipe.report.best import RULE
from ddpipe.report.figures.costs import costly
from ddpipe.report.html import pictures as stored
from ddpipe.report.published import COLUMNS
from ddpipe.states import State
from stages.report import report

PARAMS = """
seed: 0
datasets: {mnist: {source: mnist}, digits: {source: digits, flip: false}}
networks:
  convnet3: {kind: convnet, depth: 3, width: 128, norm: instance, initialisation: default}
  resnet18_in:
    {kind: resnet, block: basic, blocks: [2, 2, 2, 2], widths: [64, 128, 256, 512], norm: instance,
     downsampling: stride, initialisation: default}
protocols:
  dc:
    {epochs: 2, extra_epoch: false, lr: 0.01, momentum: 0.9, weight_decay: 0.0, batch: 256, drop: never, augment: none,
     networks: 2}
  dsa:
    {epochs: 3, extra_epoch: false, lr: 0.01, momentum: 0.9, weight_decay: 0.0, batch: 256, drop: never, augment: none,
     networks: 2}
methods: {random: {}, whole: {}, dm: {}, dsa: {iterations: 5}, dm-own: {base: dm, iterations: 7}}
reports: {mnist: {}, digits: {}}
grid:
  dm-own-mnist-1: {method: dm-own, recipe: dm, cell: default, dataset: mnist, data: mnist, ipc: 1,
    student: convnet3, network: convnet3, protocol: dsa, needs: data/prepared/x}
"""
DISTILLED = (
    "{kind: distillation, synthetic: {name: pixels, init: real}, objective: {name: distribution}, "
    "students: {name: fresh}, augment: none, outer: {images: {lr: 1.0, momentum: 0.0}}, "
    "iterations: 10, real_batch: 256, sets: 5}"
)
ROW = (
    "{{method: {m}, recipe: {m}, cell: default, dataset: {d}, data: {d}, ipc: {ipc}, "
    "student: convnet3, network: convnet3, protocol: {p}, needs: data/prepared/x}}"
)
GRID = {"random": ("dc", (1, 10)), "whole": ("dc", ("all",)), "dm": ("dsa", (1, 10)), "dsa": ("dsa", (1, 10))}
EVALUATIONS = """
evaluations:
  random-mnist-1-convnet3-dsa: {cell: random-mnist-1, dataset: mnist, data: mnist, network: convnet3, protocol: dsa}
  random-mnist-1-resnet18_in-dc: {cell: random-mnist-1, dataset: mnist, data: mnist, network: resnet18_in, protocol: dc}
"""
PUBLISHED = """
1,random,-,no,mnist,1,convnet,64.9,3.5,,no,22,other,,,,Another protocol.
3,random,-,no,mnist,1,resnet18,11.0,1.0,,no,,,,,,
1,dm,DM,no,mnist,1,convnet,89.2,1.6,100,no,5,copied,89.7,0.6,the paper,"A cell of Herding, repeated."
1,dsa,GM,no,mnist,10,convnet,97.8,0.1,,no,,,,,,
1,dm-own,DM,no,mnist,1,convnet,1.0,0.1,,no,,,,,,
"""


def put(root: Path, cell: str, protocol: str, mean: float, network: str = "convnet3", **more: object) -> None:
    accuracies = [[mean - 1, mean + 1]]
    method, dataset, ipc = cell.rsplit("-", 2)
    ipc = ipc if ipc == "all" else int(ipc)
    result = {"cell": cell, "method": method, "dataset": dataset, "ipc": ipc, "network": network, "protocol": protocol}
    result |= {"accuracies": accuracies, "n": 2, "mean": mean, "std": 1.0, "sets": 1, "networks": 2}
    result |= {"budget": {"floats": 7840, "images_per_class": 1.0}, "overrides": {}}
    spent = {"seconds": 3.0, "peak_memory_mb": 50.0, "device": "cpu", "versions": {"torch": "2", "ddpipe": "1"}}
    spent |= {"processor_seconds": 2.5, "hardware": "Chip", "threads": 1, "commit": "b" * 40 + "+"}
    spent["distillation"] = more.pop("cost", None)
    name = f"{cell}.{network}.{protocol}.json"
    seal = write_sealed(root / "data/results" / dataset / name, result | more)
    write_sealed(root / "data/costs" / name, {"costs": {seal: spent}})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for method, (protocol, ipcs) in GRID.items():
        parts = DISTILLED if method in ("dm", "dsa") else f"{{kind: selection, rule: {method}, sets: 5}}"
        lines = [f"{method}: {{paper: x, protocol: {protocol}, parts: {parts}, cells: {{default: {{}}}}}}", "grid:"]
        for dataset in ("mnist", "digits") if method == "dm" else ("mnist",):
            lines += [
                f"  {method}-{dataset}-{ipc}: {ROW.format(m=method, d=dataset, ipc=ipc, p=protocol)}" for ipc in ipcs
            ]
        text = "\n".join(lines) + (EVALUATIONS if method == "random" else "\n")
        write_text(tmp_path / f"ddpipe/methods/{method}.yaml", text)
    write_text(tmp_path / "params.yaml", PARAMS)
    write_text(tmp_path / "data/published/table1.csv", ",".join(COLUMNS) + PUBLISHED)
    write_text(
        tmp_path / "data/published/methods.csv", (Path(__file__).parents[2] / "data/published/methods.csv").read_text()
    )
    cost = {"seconds": 30.0, "seconds_per_iteration": 0.5, "peak_memory_mb": 90.0, "device": "gpu", "iterations": 10}
    cost |= {"processor_seconds": 2.0, "device_seconds": 30.0, "hardware": "Card", "load": 1.5, "commit": "a" * 40}
    put(tmp_path, "random-mnist-1", "dc", 60.0)
    put(tmp_path, "random-mnist-1", "dsa", 62.0)
    put(tmp_path, "random-mnist-1", "dc", 40.0, network="resnet18_in")
    put(tmp_path, "whole-mnist-all", "dc", 99.0)
    put(tmp_path, "dm-mnist-1", "dsa", 88.04, cost=cost)
    followed = cost | {"experts": {"buffer": "mnist", "seconds": 500.0, "device_seconds": 400.0, "hardware": "Card"}}
    put(tmp_path, "dsa-mnist-1", "dsa", 87.0, overrides={"iterations": 5}, cost=followed)
    put(tmp_path, "dm-own-mnist-1", "dsa", 88.0, overrides={"iterations": 7}, cost=cost | {"device_seconds": 3.0})
    results = tmp_path / "data/results/mnist"
    write_text(results / "dm-mnist-1.loss.csv", "set,iteration,loss\n0,0,4.0\n0,1,2.0\n1,0,2.0\n1,1,1.0\n")
    write_text(results / "random-mnist-1.loss.csv", "set,iteration,loss\n")
    write_bytes(results / "dm-mnist-1.png", pictures.image_grid(np.full((10, 1, 8, 8), 0.5), 1))
    return tmp_path


def rows(root: Path) -> pd.DataFrame:
    return frame.collect(config.load(root), "mnist").set_index(["cell", "network", "protocol"])


def test_a_row_for_every_evaluation_of_the_grid_in_the_order_of_the_params(root):
    table = rows(root)
    methods = ["random", "whole", "dm", "dsa", "dm-own"]
    assert list(dict.fromkeys(table["method"])) == methods
    assert len(table) == 1 + 2 + 2 + 2 + 2 + 1
    missing = table.loc["random-mnist-10", "convnet3", "dc"]
    assert pd.isna(missing["mean"]) and missing["device"] == ""


def test_published_values_join_what_stands_for_their_cell(root):
    table = rows(root)
    published = table["published_mean"].dropna().to_dict()
    assert published == {
        ("random-mnist-1", "convnet3", "dc"): 64.9,
        ("random-mnist-1", "resnet18_in", "dc"): 11.0,
        ("dm-mnist-1", "convnet3", "dsa"): 89.2,
        ("dsa-mnist-10", "convnet3", "dsa"): 97.8,
        ("dm-own-mnist-1", "convnet3", "dsa"): 89.2,
    }
    assert pd.isna(table.loc["dm-own-mnist-1", "convnet3", "dsa"]["difference"])  # it is reduced
    dm = table.loc["dm-mnist-1", "convnet3", "dsa"]
    assert (dm["doubtful"], dm["source_mean"]) == ("5", 89.7)
    assert dm["difference"] == pytest.approx(88.04 - 89.2)


def test_every_result_has_a_state_and_nothing_else_has(root):
    table = rows(root)
    assert (table["state"] != "").equals(table["mean"].notna())
    assert set(table["state"]) <= {"", *State}


def test_states_tell_overrides_and_combinations(root):
    told = rows(root).query("state != ''")
    assert {key: (row["state"].name, row["why"]) for key, row in told.iterrows()} == {
        ("random-mnist-1", "convnet3", "dc"): ("PUBLISHED", ""),
        ("random-mnist-1", "convnet3", "dsa"): ("OWN", "protocol dsa in place of dc, epochs 3 in place of 2"),
        ("random-mnist-1", "resnet18_in", "dc"): ("PUBLISHED", ""),
        ("whole-mnist-all", "convnet3", "dc"): ("PUBLISHED", ""),
        ("dm-mnist-1", "convnet3", "dsa"): ("PUBLISHED", ""),
        ("dsa-mnist-1", "convnet3", "dsa"): ("REDUCED", "iterations 5 of 10"),
        ("dm-own-mnist-1", "convnet3", "dsa"): ("REDUCED", "iterations 7 of 10"),
    }


def test_a_footnote_says_which_loops_ended_by_their_number(root):
    assert not any("number of their loop" in note for note in tables.footnotes(rows(root).reset_index()))
    put(root, "dm-mnist-1", "dsa", 88.04, capped={"networks": [19, 20], "trainings": [0, 7]})
    (note,) = [note for note in tables.footnotes(rows(root).reset_index()) if "number of their loop" in note]
    assert note.endswith("not by their method's rule: DM IPC 1: 19 of 20 networks, 0 of 7 trainings.")


def test_costs(root):
    table = rows(root)
    dm = table.loc["dm-mnist-1", "convnet3", "dsa"]
    assert (dm["distill_seconds"], dm["eval_seconds"], dm["iterations"]) == (30.0, 3.0, 10)
    assert (dm["peak_memory_mb"], dm["device"], dm["versions"]) == (90.0, "gpu / cpu", "ddpipe 1, torch 2")
    assert pd.isna(table.loc["random-mnist-1", "convnet3", "dc"]["distill_seconds"])
    assert table["experts_seconds"].dropna().to_dict() == {("dsa-mnist-1", "convnet3", "dsa"): 500.0}
    assert costly(table).set_index("method")["spent"].to_dict() == {"dm": 30.0, "dsa": 430.0, "dm-own": 3.0}
    assert (dm["spent_on"], dm["load"], dm["processor_seconds"], dm["device_seconds"]) == ("Card", 1.5, 2.0, 30.0)
    assert (dm["eval_spent"], dm["eval_spent_on"]) == (2.5, "Chip")
    assert (dm["hardware"], dm["commit"]) == ("Card / Chip, 1 thread", f"{'a' * 12} / {'b' * 12}+")
    random = table.loc["random-mnist-1", "convnet3", "dc"]
    assert pd.isna(random["spent"]) and random["spent_on"] == "" and random["commit"] == "b" * 12 + "+"
    path = root / "ddpipe/methods/dm.yaml"  # experts of which nobody noted what they cost
    write_text(path, path.read_text().replace("needs: data/prepared/x", "needs: data/experts/x"))
    assert pd.isna(rows(root).loc["dm-mnist-1", "convnet3", "dsa"]["spent"])
    missing = table.loc["random-mnist-10", "convnet3", "dc"]
    assert pd.isna(missing["spent"]) and (missing["hardware"], missing["digest"]) == ("", "")


def test_wide_table(root):
    table = tables.wide(frame.collect(config.load(root), "mnist"))
    assert table.headings == ("Method", "Network", "Protocol")
    assert table.ipcs == ("1", "10", "all")
    lines = {line.names: line.entries for line in table.lines}
    assert lines["Whole", "convnet3", "dc"][0] is None
    dm, own = lines["DM", "convnet3", "dsa"][0], lines["dm-own", "convnet3", "dsa"][0]
    assert dm.measured == own.measured == "88.0 ± 1.0" and dm.best and own.best  # equal as printed: both are best
    assert (dm.state, own.state) == (State.PUBLISHED, State.REDUCED)
    assert tables.beside(dm) == "(89.2 ± 1.6 ‡5, authors 89.7 ± 0.6)"
    assert not lines["Whole", "convnet3", "dc"][2].best
    missing = lines["DSA", "convnet3", "dsa"][1]
    assert (missing.measured, missing.state, tables.measured(missing)) == ("missing", None, "missing")


def told(root: Path) -> pd.DataFrame:
    """The frame with every state in it, and a set above its budget."""
    table = frame.collect(config.load(root), "mnist")
    table["why"] = ""
    table.loc[table["cell"] == "dsa-mnist-1", ["state", "why"]] = [State.REDUCED, "iterations 5 of 10"]
    own = table["cell"] == "dm-own-mnist-1"  # which stands for no printed cell then
    table.loc[own, ["state", "worth", "doubtful", "mark"]] = [State.OWN, 1.43125, "", ""]
    table.loc[own, ["published_mean", "published_std", "source_mean", "source_std"]] = math.nan
    table.loc[table["cell"] == "whole-mnist-all", ["state", "why"]] = [State.UNVERIFIED, "lr not published"]
    return table


def test_footnotes_explain_every_mark_that_is_used(root):
    notes = tables.footnotes(told(root))
    assert "‡5 DM IPC 1: A cell of Herding, repeated." in notes and "§22 Random IPC 1: Another protocol." in notes
    for shape, state in (
        ("●", "as published"),
        ("⊙", "unverified settings"),
        ("○", "reduced"),
        ("⊕", "own combination"),
    ):
        assert sum(note.startswith(f"{shape} {state}: ") for note in notes) == 1
    assert "○ DSA: iterations 5 of 10." in notes and "⊙ Whole: lr not published." in notes
    whole = "\n".join(notes)
    assert "missing:" in whole and "dc, dsa" in whole and RULE in notes and "images a class in an entry" in whole
    plain = told(root).query("method == 'whole'").assign(state=State.PUBLISHED, why="")
    assert not re.search("[‡§⊙○⊕]|missing|Bold|second value|in an entry", "\n".join(tables.footnotes(plain)))


def test_formats(root):
    table = told(root)
    text = tables.markdown(table, "mnist")
    assert "| DM | convnet3 | dsa | ● **88.0 ± 1.0** (89.2 ± 1.6 ‡5, authors 89.7 ± 0.6) | missing |  |" in text
    assert "| DSA | 1 | convnet3 | dsa | ○ reduced | iterations 5 of 10 | 87.0 | 1.0 |" in text
    read = list(csv.DictReader(io.StringIO(tables.comma_separated(table))))
    own = next(row for row in read if row["Method"] == "dm-own")
    assert (own["IPC 1"], own["IPC 1 published"], own["IPC 10"]) == ("⊕ 88.0 ± 1.0 (1.43 images a class)", "", "")
    latex = tables.latex(table.assign(label=table["label"] + "_%&"), "50% of mnist")
    assert r"\caption{50\% of mnist}" in latex
    assert r"DM\_\%\& & convnet3 & dsa & $\bullet$ \textbf{88.0 $\pm$ 1.0}" in latex
    assert r"$\circ$ 87.0 $\pm$ 1.0" in latex and r"$\oplus$ 88.0" in latex and r"$\odot$ 99.0" in latex
    assert latex.isascii(), "plain LaTeX compiles it"
    body = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in body} == {5}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"mean"', '"average"'),
        lambda text: text.replace('"std": 1.0', '"std": "one"'),
        lambda text: text.replace('"budget": {', '"budgets": {'),
        lambda text: "\xff",
    ],
)
def test_a_damaged_result_names_its_path_and_the_mend(root, damage):
    path = root / "data/results/mnist/dm-mnist-1.convnet3.dsa.json"
    path.write_bytes(damage(path.read_text()).encode("latin-1"))
    with pytest.raises(UserError, match=r"dm-mnist-1\.convnet3\.dsa\.json.*dvc repro evaluate@dm-mnist-1`"):
        rows(root)


def test_a_damaged_further_result_names_its_own_stage(root):
    (root / "data/results/mnist/random-mnist-1.convnet3.dsa.json").write_text("")
    with pytest.raises(UserError, match="dvc repro further@random-mnist-1-convnet3-dsa`"):
        rows(root)


def test_unknown_dataset(root):
    with pytest.raises(UserError, match="'mnits'.*did you mean 'mnist'"):
        frame.collect(config.load(root), "mnits")


def test_losses_are_means_over_sets_with_few_points(root):
    results, project = root / "data/results/mnist", config.load(root)
    curves = frame.losses(project, frame.collect(project, "mnist"))
    assert curves[["cell", "iteration", "loss"]].values.tolist() == [["dm-mnist-1", 0, 3.0], ["dm-mnist-1", 1, 1.5]]
    lines = "".join(f"0,{i},{i}\n" for i in range(1234))
    write_text(results / "dm-mnist-1.loss.csv", "set,iteration,loss\n" + lines)
    curves = frame.losses(project, frame.collect(project, "mnist"))
    assert len(curves) == frame.POINTS and curves["iteration"].iloc[-1] == 1233
    write_text(results / "dm-mnist-1.loss.csv", "set,iteration\n0,1\n")
    with pytest.raises(UserError, match=r"dm-mnist-1\.loss\.csv is damaged"):
        frame.losses(project, frame.collect(project, "mnist"))


def rendered(root: Path) -> str:
    project = config.load(root)
    frames = frame.collect_all(project)
    return page.render(project, frames, survey.tables(published.read(root / "data/published"), frames))


def test_page_is_self_contained_and_escapes(root):
    (root / "data/published/table1.csv").write_text(
        ",".join(COLUMNS) + "\n1,dm,DM,no,mnist,1,convnet,89.2,1.6,,no,5,wrong,,,,a<b\n"
    )
    html = rendered(root)
    assert "Not run yet:</b> digits" in html and "a&lt;b" in html
    assert html == rendered(root)
    assert not re.search(r"https?://|<link|src=\"(?!data:)", html)
    assert "<img" not in html, "sets are stored once, figures are drawn"
    assert html.count("<svg class=set") == 2 and html.count("<symbol") == 1  # in the card and among the runs
    assert html.count("<svg") == html.count("</svg>") and html.count("<symbol") == html.count("<image ")
    assert 'scope="row"' in html and 'scope="col"' in html and "<figcaption>" in html


def test_page_names_the_pictures_that_it_has_no_room_for(root, monkeypatch):
    assert "to keep this page light" not in rendered(root)
    monkeypatch.setattr(stored, "MOST", 10)
    light = rendered(root)
    assert "reports/mnist/images, to keep this page light: dm-mnist-1." in light
    assert "<svg class=set" not in light and "<symbol" not in light


def test_page_without_any_result(root):
    for path in (root / "data/results/mnist").iterdir():
        path.unlink()
    assert "Not run yet:</b> mnist, digits" in rendered(root)


FIGURES = ("accuracy_vs_ipc", "cross_architecture", "accuracy_vs_seconds", "loss")


def written(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted((root / "reports").rglob("*")) if p.is_file()}


def test_accuracies_to_draw_are_of_methods(root, monkeypatch):
    """Own combinations stand in the tables and in `dvc metrics`, and are no line beside the methods."""
    monkeypatch.chdir(root)
    made = told(root)
    monkeypatch.setattr("stages.report.collect", lambda config, dataset: made)
    report("mnist")
    drawn = pd.read_csv(root / "reports/mnist/accuracy.csv", dtype={"ipc": str})
    assert drawn.values.tolist() == [
        ["1", "random", 60.0, 1.0],
        ["all", "whole", 99.0, 1.0],
        ["1", "dm", 88.04, 1.0],
        ["1", "dsa", 87.0, 1.0],
    ]
    assert {path.stem for path in (root / "data/metrics/mnist").iterdir()} >= {"dm-own", "dm"}
    assert "dm-own" in (root / "reports/mnist/table.md").read_text()
    cells = pd.read_csv(root / "reports/mnist/cells.csv", keep_default_na=False).set_index("cell")
    assert cells.loc["dsa-mnist-1", ["state", "why"]].tolist() == ["reduced", "iterations 5 of 10"]
    assert cells.loc["dm-own-mnist-1", "state"] == "own combination" and cells.loc["dsa-mnist-10", "state"] == ""


def test_stages_write_equal_bytes_twice_and_fail_in_one_sentence(root, monkeypatch):
    monkeypatch.chdir(root)
    project = str(Path(__file__).parents[2])
    command = [sys.executable, "-X", "importtime", "-m"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], env={"PYTHONPATH": project}, capture_output=True, text=True)

    for arguments in (("stages.report", "mnist"), ("stages.page",)):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr[-2000:]
        assert not re.search(r"\| +torch$", done.stderr, re.MULTILINE)  # importing it would cost more than the rest
    first = written(root)
    names = {Path(name).name for name in first if name.startswith("reports/mnist/")}
    assert names == {
        *("table.md", "table.csv", "table.tex", "cells.csv", "accuracy.csv", "loss.csv", "dm-mnist-1.png"),
        *("scores.md", "scores.csv"),
        *(f"{figure}.{kind}" for figure in FIGURES for kind in ("png", "svg")),
    }
    assert {Path(name).name for name in first if name.startswith("reports/survey/")} == {
        "summary.md",
        *(f"table{number}.{kind}" for number in (1, 3) for kind in ("md", "csv", "tex")),
        *("taxonomy.png", "taxonomy.svg"),
    }
    run("stages.report", "mnist")
    run("stages.page")
    assert written(root) == first
    command[1:3] = []
    (root / "data/results/mnist/dm-mnist-1.convnet3.dsa.json").write_text("{")
    failed = run("stages.report", "mnist")
    assert failed.returncode == 2 and failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1
    assert written(root) == first  # the old report stays
