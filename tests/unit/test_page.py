"""reports/index.html over this repository's own data: every cell found, every link kept, nothing fetched."""

import html
import io
import math
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ddpipe import config
from ddpipe.report import page, pictures, published, survey
from ddpipe.report.frame import collect_all
from ddpipe.report.html import pictures as stored
from ddpipe.report.html import plots, strip, survey_tables
from tests.unit.survey_project import filled, make, put

ROOT = Path(__file__).parents[2]
LIGHT = 3_000_000  # bytes


class Tags(HTMLParser):
    """All opening tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, *names: str) -> Iterator[dict[str, str]]:
        return (attributes for tag, attributes in self.found if tag in names)


@pytest.fixture(scope="module")
def own() -> config.Config:
    return config.load(ROOT)


@pytest.fixture(scope="module")
def frames(own: config.Config) -> dict[str, pd.DataFrame]:
    return collect_all(own)


@pytest.fixture(scope="module")
def tables(frames: dict[str, pd.DataFrame]) -> list[survey.Table]:
    return survey.tables(published.read(ROOT / "data/published"), frames)


@pytest.fixture(scope="module")
def whole(own: config.Config, frames: dict[str, pd.DataFrame], tables: list[survey.Table]) -> str:
    return page.render(own, frames, tables)


@pytest.fixture(scope="module")
def tags(whole: str) -> Tags:
    return Tags(whole)


def test_every_cell_of_the_survey_has_an_address_of_its_own(tables, tags):
    cells = {
        survey_tables.address(panel.table, line, cell)
        for panel in survey_tables.panels(tables)
        for line in panel.table.lines
        for cell in line.cells
    }
    assert len(cells) == sum(len(line.cells) for table in tables for line in table.lines) == 473
    assert {"t1-dm-cifar10-10", "t1-whole-mnist-all", "t2-frepo-imagenet64-2", "t3-dm-cifar10-10-resnet18"} <= cells
    ids = Counter(attributes["id"] for _, attributes in tags.found if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    assert cells <= ids.keys()


def test_every_link_within_the_page_has_its_target_and_the_others_are_files_here(tags):
    ids = {attributes["id"] for _, attributes in tags.found if "id" in attributes}
    links = [attributes["href"] for attributes in tags.all("a", "use")]
    assert [link for link in links if link.startswith("#") and link[1:] not in ids] == []
    files = {link for link in links if not link.startswith("#")}
    assert files and [link for link in files if not (ROOT / "reports" / link).is_file()] == []


def test_nothing_is_fetched(whole, tags):
    """The browser is told so, too: it may load what the file holds and run the script whose digest is named."""
    sources = [value for _, attributes in tags.found for name, value in attributes.items() if name in ("src", "srcset")]
    assert all(source.startswith("data:image/") for source in sources)
    assert not list(tags.all("link", "iframe", "object", "embed", "base", "audio", "video"))
    assert not re.search(r"""(?:href|action)=["']?(?:https?:)?//|url\(|@import""", whole)
    (policy,) = [
        attributes["content"]
        for attributes in tags.all("meta")
        if "content" in attributes and ";" in attributes["content"]
    ]
    assert policy.startswith("default-src 'none'; ")


def test_the_page_is_light(whole):
    assert len(whole.encode()) < LIGHT


def test_the_page_is_complete_without_its_script(whole, tables):
    """All rows, cells and cards stand in the file; the script hides and sorts them only."""
    body = whole.partition("<script>")[0]
    assert whole.count("<script") == 1 and body.count("<article class=card>") == 473
    lines = [line for panel in survey_tables.panels(tables) for line in panel.table.lines]
    assert body.count('<th scope="row" id="row') == len(lines) == 6 * 20 + 5 + 8 + 4
    for table in tables:
        for line in table.lines:
            for cell in line.cells:
                if cell.measured:
                    assert f"{cell.measured.mean:.1f}" in body


def test_every_picture_says_what_it_shows(tags):
    assert all(attributes["alt"].strip() for attributes in tags.all("img"))
    drawn = [attributes for attributes in tags.all("svg") if "aria-hidden" not in attributes]
    words = {"aria-label", "aria-labelledby"}
    assert drawn and all(attributes["role"] == "img" and words & attributes.keys() for attributes in drawn)
    assert all(attributes.get("aria-label", "words").strip() for attributes in drawn)
    sets = [attributes["aria-label"] for attributes in drawn if attributes.get("class") == "set"]
    assert "The images of LD on mnist, IPC 1: class by class" in sets
    scrolled = [attributes for attributes in tags.all("div") if attributes.get("class") == "scroll"]
    assert all(attributes["tabindex"] == "0" and attributes["aria-label"] for attributes in scrolled)


def test_the_strip_counts_what_the_tables_hold(whole, tables):
    counts = sum((table.states() for table in tables), Counter())
    assert counts.total() == 332
    shown = re.findall(r"<li class=\"?\w+\"?><b>(?:\S )?(\d+)</b> ([^<]+)</li>", whole)
    assert {(word if word != strip.OUTSIDE else ""): int(n) for n, word in shown if int(n)} == dict(+counts)


def test_where_results_come_from_is_shown_as_far_as_it_is_known():
    one = pd.DataFrame({"mean": [1.0, 2.0, math.nan], "device": ["CPU", "CPU", ""], "versions": ["torch 2", "", ""]})
    assert strip.origins([one])["Hardware"] == "CPU" and strip.origins([one])["Newest"] == ""
    more = one.assign(when=["2026-01-02", "2026-03-04", ""], commit=["abc", "abc", ""], hardware=["A", "<B>", ""])
    found = strip.origins([one, more])
    assert (found["Newest"], found["Commit"], found["Results"]) == ("2026-03-04", "abc", "4 evaluations")
    assert found["Hardware"] == "A (1); &lt;B&gt; (1)"
    assert strip.origins([])["Results"] == "none yet"


def test_a_card_tells_what_a_value_is_worth_and_how_to_repeat_it(tmp_path):
    root = make(tmp_path)
    put(root, "dm-cifar10-1", "convnet3", "dsa", 26.4)
    own = config.load(root)
    text = page.render(own, collect_all(own), list(filled(root).values()))
    card = text.partition('id="t1-dm-cifar10-1"')[2].partition("</article>")[0]
    plain = html.unescape(re.sub("<[^>]+>", " ", card))
    for said in ("26.0 ± 0.8", "26.4 ± 0.2", "● as published", "1 set (a row each) x 5 networks", "survey 26.0"):
        assert said in " ".join(plain.split())
    assert "<code>ddpipe run evaluate@dm-cifar10-1</code>" in card
    assert "<code>ddpipe explain dm-cifar10-1</code>" in card
    assert 'href="../data/results/cifar10/dm-cifar10-1.convnet3.dsa.json"' in card
    missing = text.partition('id="t1-dsa-cifar10-10"')[2].partition("</article>")[0]
    assert "<code>ddpipe run evaluate@dsa-cifar10-10</code>" in missing and "<circle" not in missing


def test_rows_without_a_measured_value_are_folded_into_their_number(tmp_path):
    root = make(tmp_path)
    put(root, "dm-cifar10-1", "convnet3", "dsa", 26.4)
    project = config.load(root)
    text = page.render(project, collect_all(project), list(filled(root).values()))
    panel = re.search(r'<section class=panel id="table1-cifar10".*?</section>', text, re.DOTALL)[0]
    assert "19 of 20 methods have no measured value here" in panel
    assert len(re.findall(r'<tr class="[^"]*empty"', panel)) == 19
    unmeasured = re.search(r'<section class=panel id="table1-mnist".*?</section>', text, re.DOTALL)[0]
    assert "<details class=fold" not in unmeasured and 'empty"' not in unmeasured


def test_dots_stand_where_their_numbers_are():
    drawn = plots.dots([[10.0, 30.0], [20.0, 30.0]], 22.5, 15.0, math.nan, "survey", "text")
    rows = re.findall(r"translate\(0 (\d+)\)(.*?)</g>", drawn)
    places = {int(y): [float(x) for x in re.findall(r'cx="([\d.]+)"', circles)] for y, circles in rows}
    middle = (plots.LEFT + plots.RIGHT) / 2
    assert places == {26: [plots.LEFT, plots.RIGHT], 42: [middle, plots.RIGHT]}
    assert "survey 15.0" in drawn and "10.0 %" in drawn and "30.0 %" in drawn
    assert "survey" not in plots.dots([[10.0, 10.0]], 10.0, math.nan, math.nan, "survey", "text")


def test_a_curve_has_an_absolute_scale():
    drawn = plots.curve([(10, 4.0), (20, 2.0), (30, 3.0)], "text")
    assert re.findall(r">([^<]+)</text>", drawn) == ["4", "2", "10", "iteration 30"]
    (path,) = re.findall(r'class=curve d="M([^"]+)"', drawn)
    assert [float(point.split()[1]) for point in path.split("L")] == [6.0, 92.0, 49.0]
    assert "<circle" in plots.curve([(10, 4.0)], "text")


def test_pictures_become_light_and_keep_what_they_show():
    grid = pictures.image_grid([[[[i / 300] * 8] * 8] for i in range(300)], 30)
    small = stored.light(grid)
    before, after = (np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int) for png in (grid, small))
    assert before.shape == after.shape and len(np.unique(after)) <= stored.GREYS
    assert np.abs(before - after).max() <= 8


def test_cells_of_the_survey_come_first_where_there_is_no_room_for_all_pictures(own, frames, monkeypatch):
    mnist = {"mnist": frames["mnist"]}
    assert "ld-mnist-1" in stored.chosen(own, mnist, [])
    first = stored.chosen(own, mnist, ["ld-mnist-50"])
    assert next(iter(first)) == "ld-mnist-50"
    monkeypatch.setattr(stored, "MOST", len(first["ld-mnist-50"].png))
    less = stored.chosen(own, mnist, ["ld-mnist-50"])
    assert less.keys() == first.keys() and [cell for cell, picture in less.items() if picture] == ["ld-mnist-50"]
