"""`ddpipe add`: complete rows, in a file whose other bytes stay; and what a hand-written row is told."""

import difflib
import re
import stat
from itertools import product
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

from ddpipe import config, settings
from ddpipe.config import resolve
from ddpipe.errors import UserError
from ddpipe.files.insert import insert
from ddpipe.mappings import leaves
from ddpipe.planning.add import Wish, add
from ddpipe.planning.estimate import demands
from ddpipe.planning.images import OPTIONS, sighted
from ddpipe.planning.steps import RUNS, Step
from ddpipe.rows import guess
from ddpipe.variants import usual_cell
from tests.tracked import TRACKED
from tests.unit.small_project import Project

Output = pytest.CaptureFixture[str]
WHOLE = {
    **{"method": "dm", "recipe": "dm", "cell": "default", "dataset": "tiny", "data": "tiny", "ipc": 2},
    **{"student": "small", "network": "small", "protocol": "quick", "needs": "data/prepared/tiny"},
}


def says(project: Project) -> dict:
    return YAML(typ="safe").load(project.root / "params.yaml")


def new_lines(before: str, after: str) -> list[str]:
    """The lines that came; none may have gone."""
    marked = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    assert [line for line in marked if line.startswith("- ")] == []
    return [line[2:] for line in marked if line.startswith("+ ")]


def test_a_cell_comes_with_its_rivals_and_all_of_it_runs(project: Project, capsys: Output) -> None:
    """On images of the user's own: from nothing but their entry under own: to a report."""
    own = {"source": "npz", "path": "data/raw/tiny.npz", "flip": False}
    project.set("params.yaml", "own", {"birds": own})
    numbers = ("--set", "iterations=2", "--set", "outer.images.lr=0.5")
    assert project.run("add", "dm", "birds", "--ipc", "2", "--protocol", "again", *numbers) == 0
    assert "next: `ddpipe run birds`, or `dvc repro report@birds`" in capsys.readouterr().out
    assert project.run("check") == 0
    said = says(project)
    assert said["methods"]["dm-birds"] == {"base": "dm", "iterations": 2, "outer": {"images": {"lr": 0.5}}}
    cells = {"dm-birds-birds-2", "random-birds-2", "herding-birds-2"}
    assert said["grid"].keys() == cells and {row["protocol"] for row in said["grid"].values()} == {"again"}
    assert said["grid"]["herding-birds-2"]["needs"] == "data/experts/birds"
    assert said["experts"]["birds"] == said["experts"]["tiny"] | {"data": "birds"}
    assert said["reports"] == {"tiny": {}, "birds": {}}
    for words in [("resolve",), ("prepare", "birds"), ("experts", "birds")]:
        assert project.run(*words) == 0, words
    for cell in cells:
        assert project.run("distill", cell) == 0 and project.run("evaluate", cell) == 0
    assert project.run("report", "birds") == 0
    table = (project.root / "reports/birds/cells.csv").read_text()
    assert all(cell in table for cell in cells)


def test_more_of_a_cell_that_has_rivals(project: Project) -> None:
    """Another network: the rivals are measured on it too; the method that --set made is used again, not made twice."""
    words = ("dm", "tiny", "--network", "other", "--protocol", "again", "--set", "iterations=2")
    assert project.run("add", *words, "--ipc", "1") == 0
    found = config.load(project.root)
    assert {"random-tiny-1-other-again", "herding-tiny-1-other-again"} <= found.evaluations.keys()
    assert found.rows["dm-tiny-tiny-1"].student == found.rows["dm-tiny-tiny-1"].network == "other"
    assert project.run("add", *words, "--ipc", "2", "--student", "small") == 0
    found = config.load(project.root)
    second = found.rows["dm-tiny-tiny-2-small"]
    assert (second.student, second.network, second.variant) == ("small", "other", "small")
    assert found.rows["herding-tiny-2"].student == "small"
    assert project.run("check") == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("dn tiny --ipc 1", "no method 'dn'; did you mean 'dm'?"),
        ("dm tyni --ipc 1", "datasets.tyni: no such entry in params.yaml; did you mean 'tiny'?"),
        ("dm birds --ipc 1", "`birds: {source: folder, path: data/raw/birds, resolution: 32, flip: true}`"),
        ("dm tiny --ipc 1", "grid.dm-tiny-1: exists already; `ddpipe explain dm-tiny-1` shows it"),
        ("dm tiny --ipc 2 --network smal", "no network 'smal'; did you mean 'small'?"),
        ("dm tiny --ipc 2 --student othr", "no student 'othr'; did you mean 'other'?"),
        ("dm tiny --ipc 2 --protocol quik", "no protocol 'quik'; did you mean 'quick'?"),
        ("dm tiny --ipc 2 --data tyni", "datasets.tyni: no such entry in params.yaml; did you mean 'tiny'?"),
        ("dm tiny --ipc 2 --set iteration=3", "methods.dm-tiny.iteration: unknown key"),
        ("dm tiny --ipc 2 --set iterations=none", "methods.dm-tiny.iterations: must be"),
        ("dm tiny --ipc 2 --set iterations", "--set iterations: must be <key>=<value>"),
        ("dm tiny --ipc 2 --set iterations=[1", "--set iterations=[1: what stands behind iterations= is no value"),
        ("dm tiny --ipc two", "--ipc two: must be numbers of images per class with commas between, or all"),
        ("dm tiny --ipc 0", "grid.dm-tiny-0.ipc: must be greater than 0"),
        ("dm tiny --ipc 6", "at most 5"),  # images of the smallest class
        ("dm tiny --ipc all", "needs a number of images per class"),
        ("random tiny --ipc 1", "grid.random-tiny-1: exists already"),
    ],
)
def test_what_is_refused_changes_nothing(words: str, sentence: str, project: Project, capsys: Output) -> None:
    before = project.outputs(), (project.root / "params.yaml").read_bytes()
    assert project.run("add", *words.split()) == 2
    assert sentence in capsys.readouterr().err
    assert (project.outputs(), (project.root / "params.yaml").read_bytes()) == before


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        ("", ("datasets.birds: no such entry", "--images data/raw/birds")),
        (
            "--images data/raw/birds",
            ("own.birds.path: data/raw/birds does not exist; name a folder or an .npz file",),
        ),
        ("--images data/raw/tiny.npz", ("own.birds.flip: say whether", "say it with --flip or --no-flip")),
        ("--images data/raw/some --flip", ("has no folder test", "say it with --test-fraction")),
        ("--images data/raw/some --flip --test-fraction 0.5", ("must be square", "say it with --resolution")),
        ("--images data/raw/some --flip --test-fraction 2", ("own.birds.test_fraction: must be less than 1",)),
        (
            "--images data/raw/tiny.npz --no-flip --resolution 8",
            ("resolution is not for source npz: save images of this side, or leave it out; it was said with --resol",),
        ),
        ("--images data/raw/tiny.npz --no-flip --test-fraction 0.5", ("has a test part",)),
        ("--flip", ("--flip: is for new images; say where they lie: --images data/raw/birds",)),
        ("--images data/raw/tiny.npz --no-flip --ipc 6", ("the smallest class of birds, '2', has 5 training images",)),
        ("--images data/raw/tiny.npz --no-flip --network deep", ("4 halvings of the 8x8 images of birds",)),
    ],
)
def test_new_images_are_asked_for_and_looked_at(
    words: str, sentences: tuple[str, ...], project: Project, capsys: Output
) -> None:
    deep = {"kind": "convnet", "depth": 4, "width": 4, "norm": "instance", "initialisation": "default"}
    project.set("params.yaml", "networks.deep", deep)
    for name in ("a", "b"):
        (project.root / "data/raw/some" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (9, 8), (number, 0, 0)).save(project.root / f"data/raw/some/{name}/{number}.png")
    before = project.outputs(), (project.root / "params.yaml").read_bytes()
    assert project.run("add", "dm", "birds", "--ipc", "1", *words.split()) == 2
    said = capsys.readouterr().err
    assert [sentence for sentence in sentences if sentence not in said] == [], said
    assert (project.outputs(), (project.root / "params.yaml").read_bytes()) == before


def test_every_option_of_new_images_says_a_key_of_their_entry() -> None:
    assert OPTIONS.keys() <= settings.Own.model_fields.keys()


def test_an_experiment_on_new_images(project: Project, capsys: Output) -> None:
    """Several methods and budgets in one command; the entry of the images is written with them."""
    words = ("dm,dc", "birds", "--ipc", "1,2", "--images", "data/raw/tiny.npz", "--no-flip")
    assert project.run("add", *words, "--protocol", "again") == 0
    said = capsys.readouterr().out
    assert "numbers of the recipe's cells.default, as nobody published any for birds" in said
    assert "experts.birds: numbers of experts.tiny, 1 networks of 1 epochs" in said
    assert "cost: `ddpipe plan birds` tells it" in said
    found = config.load(project.root)
    assert says(project)["own"]["birds"] == {"source": "npz", "path": "data/raw/tiny.npz", "flip": False}
    cells = {f"{method}-birds-{ipc}" for method in ("dm", "dc", "random", "herding") for ipc in (1, 2)}
    assert says(project)["grid"].keys() == cells
    assert {found.rows[cell].network for cell in cells} == {"small"}  # that of rows on images of this size
    assert project.run("check") == 0
    before = (project.root / "params.yaml").read_bytes()
    assert project.run("add", *words, "--resolution", "16") == 2
    assert "own.birds.resolution: is not there, but --resolution says 16" in capsys.readouterr().err
    assert project.run("add", *words) == 2
    assert "grid.dm-birds-1: exists already" in capsys.readouterr().err
    assert (project.root / "params.yaml").read_bytes() == before
    assert project.run("add", *words[:3], "1,2,3") == 0
    found = config.load(project.root)
    assert says(project)["grid"].keys() == cells | {c.replace("-2", "-3") for c in cells if "2" in c}
    assert {row["protocol"] for row in says(project)["grid"].values()} == {"again"}  # as the rows that were there


def test_a_method_that_decodes_by_a_generator_brings_one(project: Project) -> None:
    """With the experts that it is inverted by; no chosen images beside it, as they are some of all."""
    project.put("itgan")
    words = ("itgan", "birds", "--ipc", "all", "--images", "data/raw/tiny.npz", "--no-flip")
    assert project.run("add", *words) == project.run("check") == 0
    said = says(project)
    assert said["grid"].keys() == {"itgan-birds-all"} and said["grid"]["itgan-birds-all"]["needs"].endswith("/birds")
    assert said["generators"]["birds"] == said["generators"]["tiny"] | {"data": "birds", "buffer": "birds"}
    assert said["experts"]["birds"] == said["experts"]["tiny"] | {"data": "birds"}
    stages = [("prepare", "birds"), ("experts", "birds"), ("generators", "birds"), ("distill", "itgan-birds-all")]
    for stage in stages:
        assert project.run(*stage) == 0, stage
    wider = ("--set", "synthetic.width=2", "--as", "wide")
    assert project.run("add", "itgan", "birds", "--ipc", "all", *wider) == project.run("check") == 0
    said = says(project)
    assert said["generators"]["birds-3-2"] == said["generators"]["birds"] | {"width": 2}
    assert said["grid"]["wide-birds-all"]["needs"] == "data/generators/birds-3-2"
    assert project.run("add", "itgan", "tiny", "--ipc", "all") == 2


def test_plans_look_at_images_that_are_not_prepared(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("dm", "birds", "--ipc", "1", "--images", "data/raw/tiny.npz", "--no-flip")
    assert project.run("add", *words) == 0
    monkeypatch.chdir(project.root)
    steps = [Step(name, RUNS) for name in ("own@birds", "experts@birds", "distill@dm-birds-1")]
    blind, seeing = config.load(), sighted(config.load(), ["birds"])
    assert demands(blind, steps) == ([], ["the size of birds is known once it is prepared: dvc repro own@birds"])
    found, unknown = demands(seeing, steps)
    assert [demand.step for demand in found] == steps and unknown == []
    assert seeing.seen["birds"].data.train == 29


def test_a_second_network_and_a_second_form_of_the_images(project: Project, capsys: Output) -> None:
    """Of one method, side by side, and apart in the report; another protocol of the same set is an evaluation."""
    assert project.run("add", "dm", "tiny", "--ipc", "1", "--data", "tiny-zca") == 2
    form = capsys.readouterr().err.partition("`tiny-zca: ")[2].partition("`")[0]
    project.set("params.yaml", "datasets.tiny-zca", YAML(typ="safe").load(form))
    for words in ("1,2 --network other", "1 --data tiny-zca", "1 --protocol again"):
        assert project.run("add", "dm", "tiny", "--ipc", *words.split()) == 0
    assert project.run("check") == 0
    found = config.load(project.root)
    rows = {key: found.rows[key] for key in says(project)["grid"]}
    assert {key: (row.student, row.network, row.data) for key, row in rows.items()} == {
        **dict.fromkeys(("dm-tiny-1-other", "dm-tiny-2-other"), ("other", "other", "tiny")),
        **dict.fromkeys(("random-tiny-2", "herding-tiny-2"), ("small", "other", "tiny")),  # chosen as before
        **dict.fromkeys(("dm-tiny-1-zca", "random-tiny-1-zca", "herding-tiny-1-zca"), ("small", "small", "tiny-zca")),
    }
    assert {"random-tiny-1-other-quick", "herding-tiny-1-other-quick"} <= found.evaluations.keys()  # of what was there
    assert found.evaluations["dm-tiny-1-small-again"].cell == "dm-tiny-1"
    for words in [("resolve",), ("prepare", "tiny"), ("prepare", "tiny-zca")]:
        assert project.run(*words) == 0
    for cell in ("dm-tiny-1", "dm-tiny-1-other", "dm-tiny-1-zca"):
        assert project.run("distill", cell) == 0 and project.run("evaluate", cell) == 0
    assert project.run("report", "tiny") == 0
    table = (project.root / "reports/tiny/table.md").read_text()
    for line in ("| DM | small | quick |", "| DM (other) | other | quick |", "| DM (zca) | small | quick |"):
        assert line in table


def test_a_method_under_a_name_of_its_own(project: Project, capsys: Output) -> None:
    words = ("dm", "tiny", "--ipc", "1", "--rivals", "none")
    assert project.run("add", *words, "--set", "iterations=1", "--as", "dm-fast") == 0
    assert says(project)["methods"]["dm-fast"] == {"base": "dm", "iterations": 1}
    assert says(project)["grid"].keys() == {"dm-fast-tiny-1"}
    for more, sentence in [
        (("--as", "dm-slow"), "--as dm-slow: names a method with numbers of its own; say them with --set"),
        (("--as", "Fast", "--set", "iterations=1"), "--as: 'Fast' is no name"),
        (("--rivals", "randon"), "no rival 'randon'; did you mean 'random'?"),
    ]:
        assert project.run("add", *words, *more) == 2
        assert sentence in capsys.readouterr().err
    assert project.run("add", "dm,dc", *words[1:], "--as", "fast", "--set", "iterations=1") == 2
    assert "--as fast: is the name of one method; add the 2 one by one" in capsys.readouterr().err


def test_a_method_of_that_name_with_other_numbers(project: Project, capsys: Output) -> None:
    project.set("params.yaml", "methods.dm-tiny", {"base": "dm", "iterations": 4})
    assert project.run("add", "dm", "tiny", "--ipc", "2", "--set", "iterations=5") == 2
    assert "methods.dm-tiny: exists with other numbers" in capsys.readouterr().err
    assert project.run("add", "dm-tiny", "tiny", "--ipc", "2") == 0  # the mend
    assert "dm-tiny-tiny-2" in says(project)["grid"]


def test_a_key_with_a_word_that_the_row_does_not_say(project: Project, capsys: Output) -> None:
    project.set("params.yaml", "grid.dm-tiny-2", WHOLE)
    project.set("params.yaml", "grid.dm-tiny-1-wide", WHOLE | {"ipc": 1, "network": "other"})
    assert project.run("check") == 2
    said = capsys.readouterr().err
    assert "a second row of its method, dataset and IPC says `variant: wide`" in said
    project.set("params.yaml", "grid.dm-tiny-1-wide.variant", "wide")  # the mend
    for words in ("2", "1 --network other"):
        assert project.run("add", "random,herding", "tiny", "--ipc", *words.split()) == 0
    assert project.run("check") == 0


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The project's own params.yaml and recipes, without data."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((TRACKED / name).read_bytes())
    (tmp_path / "ddpipe").mkdir()
    (tmp_path / "ddpipe/methods").symlink_to(TRACKED / "ddpipe/methods")
    return tmp_path


def test_the_desk_keeps_its_comments_and_line_breaks(desk: Path) -> None:
    before = (desk / "params.yaml").read_text()
    add(config.load(desk), Wish(["mtt"], "svhn", [7], {"network": "convnet3_w16"}, changes=["iterations=9"]))
    after = (desk / "params.yaml").read_text()
    kept = re.sub(r"^(grid|evaluations): \{\} #", r"\1: #", before, flags=re.MULTILINE)
    assert all(len(line) <= 120 for line in new_lines(kept, after))
    found = config.load(desk)
    row = found.rows["mtt-svhn-svhn-7"]
    assert (row.recipe, row.cell, row.protocol) == ("mtt", "default", "mtt")
    buffer = found.params.experts[str(row.buffer)]
    students = found.resolved("mtt-svhn-svhn-7").students
    assert (buffer.data, buffer.network, buffer.keep) == ("svhn", "convnet3_w16", "all")
    assert buffer.epochs == students.epochs
    random = found.rows["random-svhn-7"]
    assert random.protocol == "dsa"  # mtt's numbers, with a step size of its own
    assert random.network == "convnet3_w16"
    assert found.evaluations["whole-svhn-all-convnet3_w16-whole"].cell == "whole-svhn-all"  # which was there


def test_a_buffer_is_as_long_as_the_longest_cell_needs(desk: Path) -> None:
    add(config.load(desk), Wish(["mtt"], "tinyimagenet", [1, 10], {"network": "convnet4_w16"}))
    found = config.load(desk)
    cells = ["mtt-tinyimagenet-1-convnet4_w16", "mtt-tinyimagenet-10-convnet4_w16"]
    needed = [found.resolved(cell).students.epochs for cell in cells]
    assert {found.rows[cell].buffer for cell in cells} == {"tinyimagenet-trajectories-convnet4_w16"}
    assert needed[0] < needed[1] == found.params.experts["tinyimagenet-trajectories-convnet4_w16"].epochs


def test_real_images_under_a_protocol_that_they_have_no_hints_for(desk: Path) -> None:
    """Nothing says how long to train on them (LD): both they and the learned labels are measured by their own."""
    network = {"student": "convnet2_w8_plain", "network": "convnet2_w8_plain"}
    add(config.load(desk), Wish(["ld"], "digits", [3], network))
    found = config.load(desk)
    assert found.rows["ld-digits-3"].protocol == "ld" and found.rows["random-digits-3"].protocol == "dc"
    assert found.evaluations["ld-digits-3-convnet2_w8_plain-dc"].cell == "ld-digits-3"


def test_a_protocol_differs_where_it_must(desk: Path) -> None:
    """Sets are measured with the step size that was learned with them, real images with a stated one."""
    add(config.load(desk), Wish(["dm", "mtt"], "svhn", [7], {"protocol": "short"}))
    add(config.load(desk), Wish(["dm", "mtt"], "svhn", [8], {"protocol": "mtt-short"}))
    found = config.load(desk)
    names = [[found.rows[f"{method}-svhn-{ipc}"].protocol for method in ("dm", "mtt", "random")] for ipc in (7, 8)]
    assert names == [["short", "short-learned", "short"], ["mtt-short-real", "mtt-short", "mtt-short-real"]]
    short, learned = (found.params.protocols[name].model_dump() for name in ("short", "short-learned"))
    assert learned == {key: value for key, value in short.items() if key != "lr"} | {"lr": 0.01, "learned_lr": True}
    real, short = (found.params.protocols[name].model_dump() for name in ("mtt-short-real", "mtt-short"))
    assert real == short | {"learned_lr": False, "lr": 0.05}  # which was there
    add(config.load(desk), Wish(["mtt"], "svhn", [9], {"protocol": "dsa"}))  # which has its counterpart
    assert config.load(desk).rows["mtt-svhn-9"].protocol == "mtt"
    assert config.load(desk).params.protocols.keys() == found.params.protocols.keys()
    add(config.load(desk), Wish(["mtt"], "cifar10-jpeg75", [3]))  # whose other rows are measured with `short`
    assert config.load(desk).rows["mtt-cifar10-jpeg75-3"].protocol == "short-learned"


PROJECT = config.load(TRACKED)
VARIANTS = [method for method in PROJECT.params.methods if PROJECT.base(method) != method]


def kind(chosen: settings.Cell) -> tuple:
    """What makes a method of a recipe another one: parts, what is learned, whether the budget is kept."""
    learned = getattr(chosen, "outer", {}).keys(), getattr(chosen, "labels", None)
    return chosen.composition(), *learned, getattr(chosen, "excess", None)


@pytest.mark.parametrize("method", VARIANTS)
def test_a_variant_is_itself_on_every_dataset_or_refused(method: str) -> None:
    """Not the method of its base under its name."""
    rows = [row for row in PROJECT.rows.values() if row.method == method]
    made = []
    for dataset, ipc in product(("mnist", "fashionmnist", "svhn", "cifar10", "cifar100"), (1, 3, 20)):
        try:
            made.append(guess(PROJECT, method, dataset, ipc, {}))
        except UserError as error:
            assert f"methods.{method}.cells: recipe {PROJECT.base(method)} says only for " in str(error)
            assert f"write cells.{dataset}-{ipc}-" in str(error)
    kinds = [kind(resolve(PROJECT.layers_of(row))) for row in rows]
    if "cells" in PROJECT.origin(method):
        assert all(kind(resolve(PROJECT.layers_of(row))) in kinds for row in made)
    else:
        assert PROJECT.changes(method)
    for row in made:
        cell = usual_cell(PROJECT, row.recipe, row.dataset, row.ipc)
        base = row.model_copy(update={"method": row.recipe, "cell": cell})
        assert resolve(PROJECT.layers_of(row)) != resolve(PROJECT.layers_of(base)), row.name


@pytest.mark.parametrize(
    ("cell", "keys"),
    [
        ("rtp-images-cifar10-1", {"synthetic.name": "pixels", "objective.examples": 10}),
        ("ld-ridge-fashionmnist-2", {"objective.name": "regression", "objective.subset": 10}),
        ("ld-ridge-hard-mnist-20", {"objective.name": "regression", "labels.learned": False, "students.patience": 200}),
        ("kip-labels-mnist-10", {"labels.learned": True, "outer.targets.lr": 0.01}),
        ("kip-labels-cifar100-1", {"labels.learned": True, "real_batch": 50}),
        ("ls-mnist-10", {"objective.name": "solve", "synthetic.name": "real"}),
        ("frepo-fashionmnist-5", {"objective.flipped": False}),
    ],
)
def test_a_variant_has_its_own_numbers(cell: str, keys: dict) -> None:
    method, dataset, ipc = cell.rsplit("-", 2)
    row = guess(PROJECT, method, dataset, int(ipc), {})
    found = {".".join(path): value for path, value in leaves(resolve(PROJECT.layers_of(row)).model_dump())}
    assert {key: found[key] for key in keys} == keys


def test_a_variant_takes_its_cells_and_its_protocol_along(desk: Path) -> None:
    network = {"student": "lenet_default", "network": "lenet_default"}
    add(config.load(desk), Wish(["ld-ridge"], "fashionmnist", [3], network, changes=["iterations=9"]))
    found = config.load(desk)
    assert found.params.methods["ld-ridge-fashionmnist"] == {"base": "ld", "cells": "ridge", "iterations": 9}
    assert found.rows["ld-ridge-fashionmnist-fashionmnist-3"].cell == "ridge"
    assert guess(found, "ld-ridge", "svhn", 3, {}).protocol == "ld-ridge"
    with pytest.raises(UserError, match="methods.haba-grey.cells: recipe haba says only for cifar10-1-grey"):
        add(found, Wish(["haba-grey"], "svhn", [1]))


def test_an_entry_that_changes_nothing_is_no_method(project: Project, capsys: Output) -> None:
    project.set("params.yaml", "methods.mine", {"base": "dm"})
    assert project.run("add", "mine", "tiny", "--ipc", "2") == 2
    assert "methods.mine: changes nothing of dm; write there what it changes, or" in capsys.readouterr().err
    project.set("params.yaml", "methods.mine", {"base": "dm", "cells": "narrow"})
    assert project.run("check") == 2
    assert "methods.mine.cells: no name of a cell of recipe dm ends in -narrow" in capsys.readouterr().err
    project.set("ddpipe/methods/dm.yaml", "dm.cells.tiny-narrow", {"iterations": 1})  # the mend
    assert project.run("check") == 0 and project.run("add", "mine", "tiny", "--ipc", "2") == 0
    assert config.load(project.root).rows["mine-tiny-2"].cell == "tiny-narrow"
    project.set("params.yaml", "methods.mine", {"base": "dm", "cells": 3})
    assert project.run("check") == 2
    assert "methods.mine: cells must be the word in which the names of its cells end" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "dataset", "data", "student", "network"),
    [
        ("dsa", "cifar100", "cifar100-dsa", "convnet3", "convnet3"),
        ("mtt", "cifar10", "cifar10-zca", "convnet3", "convnet3"),  # two of three published cells
        ("dm", "cifar10", "cifar10", "convnet3", "convnet3"),
        ("random", "cifar10", "cifar10", "convnet3", "convnet3"),
        ("kip-labels", "svhn", "svhn-kip", "convnet3_kip", "convnet3_kip"),
        ("frepo", "cifar100", "cifar100-frepo", "convnet3_frepo_bn", "convnet3_frepo"),
        ("rfad", "mnist", "mnist", "convnet3_w256_kernel", "convnet3_rfad"),
    ],
)
def test_what_is_not_said_is_as_in_the_published_rows(method: str, dataset: str, data: str, student: str, network: str):
    row = guess(PROJECT, method, dataset, 5, {} if method != "rfad" else {"network": network})
    assert (row.data, row.student, row.network) == (data, student, network)


def test_rivals_of_another_form_of_the_images_choose_in_the_features_of_its_own_ones(desk: Path) -> None:
    add(config.load(desk), Wish(["frepo"], "cifar10", [5]))
    found = config.load(desk)
    assert found.rows["frepo-cifar10-5"].student == "convnet3_frepo_bn"
    row = found.rows["herding-cifar10-5-frepo"]
    assert (row.student, row.network, row.needs) == ("convnet3", "convnet3_frepo", "data/experts/cifar10-frepo")


def test_the_usual_network_is_that_of_such_images(desk: Path) -> None:
    for dataset, network in (("tinyimagenet10", "convnet4_w16"), ("digits", "convnet2_w16"), ("cifar10", "convnet3")):
        add(config.load(desk), Wish(["dm"], dataset, [3]))
        assert config.load(desk).rows[f"dm-{dataset}-3"].network == network


def test_a_buffer_that_is_too_short_is_not_lengthened_unasked(desk: Path) -> None:
    with pytest.raises(
        Exception, match="experts.digits-trajectories.epochs: 7, but mtt-digits-5 needs 21; set it to 21"
    ):
        add(config.load(desk), Wish(["mtt"], "digits", [5]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {}\n", "a:\n  k: {v: 1}\n"),
        ("a: {} # why\nb: 1\n", "a: # why\n  k: {v: 1}\nb: 1\n"),
        ("a:\nb: 1\n", "a:\n  k: {v: 1}\nb: 1\n"),
        ("a: {x: 1} # why\n", "a: {x: 1, k: {v: 1}} # why\n"),
        ("a:\n    x: 1 # one\n    # two\n\nb: 1\n", "a:\n    x: 1 # one\n    k: {v: 1}\n    # two\n\nb: 1\n"),
        ("a:\n  x:\n    {y: 1,\n     z: 2}\nb: 1", "a:\n  x:\n    {y: 1,\n     z: 2}\n  k: {v: 1}\nb: 1"),
        ("a:\n  x:\n  - 1\n  - y: 2\n", "a:\n  x:\n  - 1\n  - y: 2\n  k: {v: 1}\n"),
        ("a:\n  x: 1", "a:\n  x: 1\n  k: {v: 1}\n"),
        ("b: 1\n", "b: 1\n\na:\n  k: {v: 1}\n"),
        ("{a: {}, b: 1}\n", "{a: {k: {v: 1}}, b: 1}\n"),
    ],
)
def test_an_entry_put_into_a_block(text: str, expected: str) -> None:
    assert insert(text, {"a": {"k": {"v": 1}}}) == expected
    assert YAML(typ="safe").load(expected)["a"]["k"] == {"v": 1}


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_new_lines_end_as_the_others_do(end: str) -> None:
    text = "a:\n  x: 1 # why\nb: {} # none\nc: [1]\n"
    more = {"a": {"y": 2}, "b": {"v": 3}, "d": {"w": 4}}
    expected = "a:\n  x: 1 # why\n  y: 2\nb: # none\n  v: 3\nc: [1]\n\nd:\n  w: 4\n"
    assert insert(text.replace("\n", end), more) == expected.replace("\n", end)


def test_params_keeps_its_line_ends_and_permissions(project: Project, capsys: Output) -> None:
    path = project.root / "params.yaml"
    before = path.read_bytes().replace(b"\n", b"\r\n")
    path.write_bytes(before)
    path.chmod(0o444)
    assert project.run("add", "dm", "tiny", "--ipc", "2") == 2
    assert "params.yaml is read-only; make it writable" in capsys.readouterr().err
    assert path.read_bytes() == before and stat.S_IMODE(path.stat().st_mode) == 0o444
    path.chmod(0o664)
    assert project.run("add", "dm", "tiny", "--ipc", "2") == 0
    after = path.read_bytes()
    assert after != before and after.count(b"\n") == after.count(b"\r\n") and project.run("check") == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert "dm-tiny-2" in says(project)["grid"]


def test_several_entries_put_into_several_blocks() -> None:
    text = "a: {} # why\nb:\n  x: 1\n# end\n"
    more = {"c": {"k": 1}, "b": {"y": 2, "z": 3}, "a": {"v": 4, "w": 5}, "d": {"l": 6}}
    expected = "a: # why\n  v: 4\n  w: 5\nb:\n  x: 1\n  y: 2\n  z: 3\n# end\n\nc:\n  k: 1\n\nd:\n  l: 6\n"
    assert insert(text, more) == expected


@pytest.mark.parametrize("grid", ["grid: &none {}", "grid: {<<: &none {}}"])
def test_a_file_that_cannot_be_extended_is_left_alone(grid: str, project: Project, capsys: Output) -> None:
    """What else refers to a block would be extended with it."""
    path = project.root / "params.yaml"
    text = path.read_text()
    assert "grid: {}" in text and "reports: {tiny: {}}" in text
    path.write_text(text.replace("grid: {}", grid).replace("reports: {tiny: {}}", "reports: {tiny: *none}"))
    before = path.read_bytes()
    code, said = project.run("add", "dm", "tiny", "--ipc", "2"), capsys.readouterr().err
    assert (code, path.read_bytes()) == (2, before) or code == 0 and project.run("check") == 0
    assert code == 0 or "params.yaml: is written in a way that cannot be extended" in said


ROW = {"method": "dm", "dataset": "tiny", "ipc": 2}
WRITTEN = {"dataset": "tiny", "data": "tiny", "network": "small", "protocol": "quick", "needs": "data/prepared/tiny"}


@pytest.mark.parametrize(
    ("key", "row", "sentence"),
    [
        ("dm-tiny-2", ROW, "lacks data, network, protocol, needs; write `data: tiny, network: small, protocol: quick, "
         "needs: data/prepared/tiny` there"),
        ("dm-tiny-2", None, "write `dataset: tiny, data: tiny, network: small, protocol: quick, needs: "),
        ("dm-tiny-2", ROW | {"network": "other"}, "write `data: tiny, protocol: quick, needs: data/prepared/tiny`"),
        ("herding-tiny-2", {"network": "small"}, "needs: data/experts/tiny` there"),
        ("herding-tiny-2", {"network": "other"},
         "data/experts/tiny-other` there, and under experts: `tiny-other: {"),
        ("dm-tiny-1-wide", {"network": "other"}, "needs: data/prepared/tiny` there"),
        ("dx-tiny-2", {}, "its key must be <method>-<dataset>-<ipc>"),
        ("dx-tiny-2", ROW | WRITTEN, "grid.dx-tiny-2: its key must be <method>-<dataset>-<ipc>"),
        ("dm-tiny-0", WRITTEN, "grid.dm-tiny-0.ipc: must be greater than 0, not 0"),
        ("dm-tiny-0", {}, "must be greater than 0"),
        ("dm-tiny-2", ROW | {"netwrok": "small"}, "grid.dm-tiny-2.netwrok: unknown key; did you mean 'network'?"),
    ],
)  # fmt: skip
def test_a_row_is_told_what_it_lacks(
    key: str, row: dict | None, sentence: str, project: Project, capsys: Output
) -> None:
    project.set("params.yaml", "grid", {key: row})
    assert project.run("check") == 2
    said = capsys.readouterr().err
    assert f"grid.{key}" in said and sentence in said


FIVE = {"dataset": "tiny", "data": "tiny", "network": "small", "protocol": "quick", "needs": "data/prepared/tiny"}


def test_a_row_of_five_words(project: Project, capsys: Output) -> None:
    """Its key tells the rest; what is not as usual may stand beside."""
    rows = {"dm-tiny-2": FIVE, "dm-tiny-3-wide": FIVE | {"network": "other", "student": "small", "cell": "tiny-1"}}
    for ipc, network in ((2, "small"), (3, "other")):
        rows |= {f"random-tiny-{ipc}": FIVE | {"network": network}}
        rows |= {f"herding-tiny-{ipc}": FIVE | {"network": network, "student": "small", "needs": "data/experts/tiny"}}
    project.set("params.yaml", "grid", rows)
    assert project.run("check") == 0
    found = config.load(project.root)
    told = {"method": "dm", "recipe": "dm", "cell": "default", "ipc": 2, "student": "small"}
    assert found.row("dm-tiny-2").model_dump() == FIVE | told
    wide = found.row("dm-tiny-3-wide")
    assert (wide.variant, wide.ipc, wide.cell, wide.student, wide.network) == ("wide", 3, "tiny-1", "small", "other")
    for key, more, sentence in (
        ("dm-tiny-2", {"ipc": 3}, "its name is <method>-<dataset>-<ipc>"),
        ("dm-tiny-2", {"netwrok": "small"}, "netwrok: unknown key; did you mean 'network'?"),
        ("dx-tiny-2", {}, "its key must be <method>-<dataset>-<ipc>"),
    ):
        project.set("params.yaml", "grid", {key: FIVE | more})
        assert project.run("check") == 2
        said = capsys.readouterr().err
        assert f"grid.{key}" in said and sentence in said


def test_what_it_is_told_to_write_is_right(project: Project, capsys: Output) -> None:
    project.set("params.yaml", "grid", {"herding-tiny-2": {"network": "other"}})
    assert project.run("check") == 2
    row, buffer = (part.partition("`")[0] for part in capsys.readouterr().err.split(" `")[1:3])
    project.set(
        "params.yaml", "grid", {"herding-tiny-2": {"network": "other"} | YAML(typ="safe").load("{" + row + "}")}
    )
    said = says(project)["experts"] | YAML(typ="safe").load(buffer)
    project.set("params.yaml", "experts", said)
    assert project.run("check") == 0
