"""The figures: how methods look, what stands where, and that a phone, an eye without colours and a page can show it."""

import itertools
import math
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from ddpipe.config import load
from ddpipe.report.drawings import Drawing, draw
from ddpipe.report.figures import Style, accuracy, canvas, costs, looks, loss, transfer
from ddpipe.report.figures.scales import Scale, percents, seconds
from ddpipe.report.figures.style import GREYS, INK, MARKERS, PALETTE, REFERENCES, mixed, styles
from ddpipe.report.figures.vector import standalone
from ddpipe.report.frame import labels
from ddpipe.states import State

PHONE = 345  # pixels of a phone's 390 that a figure gets between the page's margins
WITHOUT_RED = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
WITHOUT_GREEN = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
EYES = {"all": np.eye(3), "without red": WITHOUT_RED, "without green": WITHOUT_GREEN}  # Machado et al. (2009)


def linear(colour: str) -> np.ndarray:
    """sRGB -> linear red, green, blue in [0, 1]."""
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(colour: str) -> float:
    """With white, as WCAG counts it."""
    return 1.05 / (linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05)


def lab(light: np.ndarray) -> np.ndarray:
    """Linear light -> CIE L*, a*, b* (D65)."""
    xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    relative = xyz @ np.clip(light, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("colour", [*PALETTE, *GREYS])
def test_a_colour_stands_out_from_white(colour):
    assert contrast("#767676") == pytest.approx(4.54, abs=0.01)
    assert contrast(colour) >= 3


@pytest.mark.parametrize("eyes", EYES)
def test_colours_are_told_apart(eyes):
    for first, second in itertools.combinations(PALETTE, 2):
        assert np.linalg.norm(lab(EYES[eyes] @ linear(first)) - lab(EYES[eyes] @ linear(second))) > 28, (first, second)


def test_every_method_has_one_look_and_neighbours_differ_in_grey_too():
    selections, methods = ["random", "all", "some", "most", "more"], [f"method{i}" for i in range(56)]
    look = styles(selections, methods)
    assert len(set(look.values())) == len(look) == 61
    assert styles(selections[:2], methods[:3]).items() <= look.items(), "others change nothing"
    for one, other in itertools.pairwise(methods):
        assert look[one].colour != look[other].colour and look[one].marker != look[other].marker
    assert not {look[name].marker for name in selections} & set(MARKERS)
    assert [look[name].reference for name in ("random", "method0")] == [True, False]
    assert not set(MARKERS) & set(REFERENCES)


def test_looks_and_labels_come_from_recipes_and_the_survey(project):
    """Nothing else has to be told that a method exists."""
    (project.root / "data/published").mkdir(parents=True, exist_ok=True)
    (project.root / "data/published/methods.csv").write_text("method,label\nrandom,Random\ndd,DD\ndm,DM\n")
    project.set("ddpipe/methods/herding.yaml", "herding.label", "Herding!")
    before = looks(load(project.root))
    project.set("params.yaml", "methods.mine", {"base": "dm"})
    project.set("params.yaml", "methods.ours", {"base": "random"})
    found = load(project.root)
    assert labels(found) == {"random": "Random", "dd": "DD", "dm": "DM", "herding": "Herding!"}
    look = looks(found)
    assert {name for name, style in look.items() if style.reference} == {"random", "herding", "ours"}
    assert look["dm"] == styles([], ["dd", "dm"])["dm"], "the survey's order gives the colours"
    assert look["mine"] == Style(look["dm"].colour, look["dm"].marker, hollow=True)
    assert before.items() <= look.items()


def test_a_marker_is_full_only_as_published():
    dm = Style("#102030", "o")
    assert [dm.inside(state) for state in State] == ["#102030", "#889098", "white", "white"]
    assert Style("#102030", "o", hollow=True).inside(State.PUBLISHED) == "white"
    assert mixed("#000000", "#FF8000", 0.25) == "#402000"


@pytest.mark.parametrize("share", np.linspace(0, 1, 21))
def test_numbers_are_read_on_every_colour(share):
    behind = contrast(mixed(transfer.PALE, transfer.DARK, share))
    assert (behind if share > transfer.TURN else contrast(INK) / behind) > 4


def test_scales_have_few_round_values():
    assert Scale(42.0, 97.0).ticks(50) == [(42.0, "42"), (97.0, "97")]
    assert Scale(42.0, 58.0).ticks(20) == [(42.0, "42"), (58.0, "58")]
    assert Scale(42.0, 97.0).ticks(60) == [(60.0, "60"), (80.0, "80")]
    assert Scale(97.0, 99.0).ticks(115) == [(97.0, "97"), (97.5, "97.5"), (98.0, "98"), (98.5, "98.5"), (99.0, "99")]
    assert Scale(97.0, 99.0).ticks(110) == [(97.0, "97"), (98.0, "98"), (99.0, "99")]
    assert Scale(88.5, 92.5).ticks(110) == [(float(tick), str(tick)) for tick in range(89, 93)]
    assert Scale(0.0, 100.0).ticks(300) == [(float(tick), str(tick)) for tick in range(0, 101, 10)]
    assert Scale(0.0, 100.0).place(25.0, 10.0, 50.0) == 20.0
    assert Scale(50.0, 100.0).place(25.0, 10.0, 50.0) == 10.0
    assert percents([90.0, 91.0, math.nan]) == Scale(88.5, 92.5)
    assert percents([99.0, 100.0]) == Scale(97.5, 100.0)
    times = seconds([2.0, 7000.0])
    assert (times.low, times.high) == (1, 36000)
    assert [word for _, word in times.ticks(240)] == ["1 s", "10 s", "1 min", "10 min", "1 h", "10 h"]
    assert [word for _, word in times.ticks(110)] == ["1 s", "1 min", "1 h"]
    assert times.place(1.0, 0.0, 10.0) == 0 and times.place(36000**0.5, 0.0, 10.0) == pytest.approx(5)
    assert times.place(0.0, 0.0, 10.0) == 0
    assert [word for _, word in seconds([1e6]).ticks(110)] == ["100 h"]


COLUMNS = ("cell", "method", "label", "ipc", "network", "protocol", "main", "distilled", "mean", "spent")
OWN = ("dm-tiny-1", "dm", "DM", "1", "small", "dsa", True, True)
ELSEWHERE = ("dm-tiny-1", "dm", "DM", "1", "other", "dsa", False, True)
UNTOUCHED = ("dc-tiny-1", "dc", "DC", "1", "small", "dsa", True, True)
LOOK = styles(["random"], ["dm", "dc"])


def evaluations(*rows: tuple) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    state = frame["mean"].map(lambda mean: "" if math.isnan(mean) else State.REDUCED)
    return frame.assign(std=1.0, spent_on="Some CPU", device_seconds=np.nan, state=state)


def curves(*levels: float) -> pd.DataFrame:
    rows = [("dm-tiny-1", "dm", "DM", "1", i, level) for i, level in enumerate(levels)]
    return pd.DataFrame(rows, columns=["cell", "method", "label", "ipc", "iteration", "loss"])


def names(frame: pd.DataFrame, losses: pd.DataFrame) -> list[str]:
    drawings = draw("tiny", frame, losses, LOOK, 50)
    assert all(drawing.png.startswith(b"\x89PNG") for drawing in drawings)
    return [drawing.name for drawing in drawings]


def test_a_figure_only_where_there_is_something_to_show():
    nothing = evaluations((*OWN, np.nan, np.nan), (*ELSEWHERE, np.nan, np.nan))
    assert names(nothing, curves()) == []
    assert names(evaluations((*OWN, 50.0, np.nan), (*ELSEWHERE, np.nan, np.nan)), curves()) == ["accuracy_vs_ipc"]
    complete = evaluations((*OWN, 50.0, 3.0), (*ELSEWHERE, 40.0, 3.0))
    assert names(complete, curves(-2.0, 0.0)) == [
        "accuracy_vs_ipc",
        "cross_architecture",
        "accuracy_vs_seconds",
        "loss",
    ]


def row(method: str, ipc: str, protocol: str, mean: float, network: str = "small", label: str = "") -> tuple:
    distilled = method != "random"
    return (
        f"{label or method}-tiny-{ipc}",
        method,
        label or method,
        ipc,
        network,
        protocol,
        True,
        distilled,
        mean,
        3.0,
    )


def test_accuracies_stand_by_protocol_the_best_first_beside_their_selections():
    frame = evaluations(
        row("random", "1", "dsa", 30.0),
        row("dm", "1", "dsa", 40.0),
        row("dc", "1", "dsa", 45.0),
        row("dm", "10", "dsa", 60.0, label="DM (wide)"),
        row("dc", "10", "mtt", 50.0),
        row("random", "10", "dc", 20.0),
    )
    (section,) = accuracy.sections(accuracy.on_main_network(frame), LOOK)
    assert [column.title for column in section.columns] == ["IPC 1", "IPC 10"]
    assert [(group.title, [line.name for line in group.lines]) for group in section.groups] == [
        ("dsa, small", ["dc", "dm", "DM (wide)"]),
        ("mtt, small", ["dc"]),
        ("dc, small", ["random"]),
    ]
    assert [(one.name, one.values) for one in section.groups[0].references] == [("random", (30.0, None))]
    first, dot = section.groups[0].lines[0].dots, section.groups[1].lines[0].dots[1]
    assert (first[0].value, first[0].spread, first[0].state, first[1]) == (45.0, 1.0, "reduced", None)
    assert dot and dot.value == 50.0


def test_what_few_have_gets_a_section_of_its_own():
    rows = [row("dm", "1", "dsa", 40.0 + i, label=f"DM {i}") for i in range(5)]
    frame = evaluations(*rows, row("dm", "all", "dsa", 90.0))
    sections = accuracy.sections(accuracy.on_main_network(frame), LOOK)
    assert [[column.title for column in section.columns] for section in sections] == [["IPC 1"], ["Whole set"]]
    assert [line.name for line in sections[0].groups[0].lines] == ["DM 4", "DM 3", "DM 2", "DM 1", "DM 0"]


def test_costs_never_mix_devices_and_bold_is_what_nothing_cheaper_beats():
    frame = evaluations((*OWN, 50.0, 5.0), (*UNTOUCHED, 50.0, 7.0), row("dm", "1", "dsa", 60.0, label="DM (wide)"))
    frame.loc[1, "spent"] = 107.0
    (section,) = costs.sections(costs.costly(frame), LOOK)
    (group,) = section.groups
    told = [(line.name, line.dots[0].value, line.strong) for line in group.lines]
    assert told == [("DM (wide)", 3.0, True), ("DM", 5.0, False), ("DC", 107.0, False)]
    frame.loc[1, ["spent_on", "device_seconds"]] = ["GPU", 107.0]
    (section,) = costs.sections(costs.costly(frame), LOOK)
    assert [(group.title, [line.strong for line in group.lines]) for group in section.groups] == [
        ("Some CPU: processor seconds", [True, False]),
        ("GPU: device seconds", [True]),
    ]


def test_cross_architecture_compares_networks_under_one_protocol():
    """A set measured on another network under another protocol has nothing to be compared with."""
    other, third = (("dc-tiny-1", "dc", "DC", "1", name, "hard", False, True) for name in ("other", "third"))
    home, again = (*UNTOUCHED[:5], "hard", False, True), (*ELSEWHERE[:5], "hard", False, True)
    rows = [(*ELSEWHERE, 40.0, 3.0), (*UNTOUCHED, 70.0, 3.0), (*OWN, 50.0, 3.0), (*again, 35.0, 3.0)]
    frame = evaluations(*rows, (*other, 30.0, 3.0), (*home, 60.0, 3.0), (*third, 20.0, 3.0))
    one, two = transfer.blocks(transfer.transferred(frame))
    assert (one.protocol, one.columns, one.gaps) == (OWN[5], ["small", "other"], [0])
    assert [(name, [(cell["network"], cell["mean"], cell["home"]) for cell in cells]) for name, cells in one.lines] == [
        ("DM, 1", [("small", 50.0, True), ("other", 40.0, False)])
    ]
    assert (two.protocol, two.columns) == ("hard", ["small", "other", "third"])
    assert [(name, [cell["mean"] for cell in cells]) for name, cells in two.lines] == [("DC, 1", [60.0, 30.0, 20.0])]


def test_networks_that_do_not_go_side_by_side_stand_beside_the_first_one_again():
    networks = ["small", "a", "b", "c", "d", "e", "f"]
    frame = evaluations(*[(*OWN[:4], name, *OWN[5:6], name == "small", True, 50.0, 3.0) for name in networks])
    assert [block.columns for block in transfer.blocks(transfer.transferred(frame))] == [
        ["small", "a", "b", "c", "d"],
        ["small", "e", "f"],
    ]


def test_a_curve_is_thinned_to_means_relative_to_its_largest_value():
    iterations, levels = loss.thinned(pd.Series(range(80)), pd.Series([4.0, -8.0] * 40))
    assert iterations.tolist() == list(range(1, 80, 2)) and levels.tolist() == [-0.25] * 40
    iterations, levels = loss.thinned(pd.Series([0, 5, 9]), pd.Series([2.0, 4.0, 1.0]))
    assert iterations.tolist() == [0, 5, 9] and levels.tolist() == [0.5, 1.0, 0.25]
    assert loss.thinned(pd.Series([0]), pd.Series([0.0]))[1].tolist() == [0.0]
    lengths = [len(loss.thinned(pd.Series(range(n)), pd.Series([1.0] * n))[0]) for n in (39, 41, 79, 1000)]
    assert lengths == [39, 40, 40, 40]


LONG = "mtt-hallucinators-that-nobody-ever-named (14x14)"


@pytest.fixture(scope="module")
def large() -> list[Drawing]:
    """The figures of as many results as a filled grid has, with long and odd names."""
    methods = [f"method-{i}" for i in range(50)]
    labels = [LONG, "a $x_ <b> & §", *methods[2:]]
    look = styles(["random", "herding", "kcenter"], methods)
    rows = [row(m, ipc, f"protocol{i % 7}", 30.0 + i, label=label) for ipc in ("1", "10", "50", "all")
            for i, (m, label) in enumerate(zip(methods, labels, strict=True))]  # fmt: skip
    rows += [row("random", ipc, f"protocol{i}", 25.0) for ipc in ("1", "10", "50") for i in range(1)]
    for network in ("resnet18_in", "densenet121_g12_bn", "a", "b", "c"):
        rows += [(*found[:4], network, "transfer", False, *found[7:]) for found in rows[:20]]
    frame = evaluations(*rows)
    rng = np.random.default_rng(0)
    losses = pd.concat(
        pd.DataFrame({"cell": f"{label}-{ipc}", "method": method, "label": label, "ipc": ipc, "iteration": range(100),
                      "loss": rng.random(100)})
        for method, label in zip(methods, labels, strict=True) for ipc in ("1", "10", "50")
    )  # fmt: skip
    return draw("tiny", frame, losses, look, 60)


def test_svg_can_stand_in_a_page(large):
    assert len(large) == 4
    for drawing in large:
        root = ElementTree.fromstring(drawing.svg)
        assert root.tag == "svg" and root.attrib["role"] == "img"
        title, words = (root.find(tag) for tag in ("title", "desc"))
        assert (title.text, words.text) == (drawing.alternative, drawing.caption)
        assert root.attrib["aria-labelledby"] == f"{title.attrib['id']} {words.attrib['id']}"
        ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        assert len(set(ids)) == len(ids) and all(name.startswith(f"tiny-{drawing.name}-") for name in ids)
        asked = set(re.findall(r"[\"(]#([^\")]+)", drawing.svg))
        assert asked <= set(ids) and (asked or drawing.name == "loss")  # whose lines have no markers
        assert not re.search(r"<style|<metadata|<!|<\?|https?:|clip-path|id=\"\"|\d\.\d{3}", drawing.svg)
        file = standalone(drawing.svg)
        assert ElementTree.fromstring(file).tag == "{http://www.w3.org/2000/svg}svg" and file.endswith("</svg>\n")


def test_svg_of_a_filled_grid_is_light(large):
    assert all(len(drawing.svg) < 250_000 for drawing in large), [len(drawing.svg) for drawing in large]


def test_equal_figures_are_equal_bytes():
    frame = evaluations((*OWN, 50.0, 3.0), (*ELSEWHERE, 40.0, 3.0))
    first, second = (draw("tiny", frame, curves(2.0, 1.0), LOOK, 50) for _ in range(2))
    assert [(one.svg, one.png) for one in first] == [(one.svg, one.png) for one in second]
    other = draw("other", frame, curves(2.0, 1.0), LOOK, 50)
    assert "tiny" not in other[0].svg


def test_text_has_nine_pixels_on_a_phone(large):
    for drawing in large:
        sizes = [float(size) for size in re.findall(r"font-size:([\d.]+)px", drawing.svg)]
        assert sizes and min(sizes) * PHONE / float(ElementTree.fromstring(drawing.svg).attrib["width"]) >= 9


def test_all_text_stands_on_the_sheet_as_it_is_written(large):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for drawing in large:
        figure = drawing.figure
        figure.set_dpi(72)
        renderer = FigureCanvasAgg(figure).get_renderer()
        (axes,) = figure.axes
        for text in axes.texts:
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0 and box.x1 <= canvas.WIDTH and box.y0 >= 0, (drawing.name, text.get_text())
    assert "a $x_ &lt;b&gt; &amp; §" in large[0].svg and LONG[:20] in large[0].svg and LONG not in large[0].svg
