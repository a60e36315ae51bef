"""The survey's tables in Markdown, CSV, LaTeX and on the page: one content, every mark explained."""

import csv
import io
import itertools
import re
from collections import Counter
from pathlib import Path

import pytest

from ddpipe.report import published, survey, survey_legend, survey_text
from ddpipe.report.html import survey_tables
from ddpipe.report.markup import LATEX
from ddpipe.states import State
from tests.unit.survey_project import FILLED, ROOT, cells, filled, make, put


@pytest.fixture(scope="module")
def printed() -> dict[str, survey.Table]:
    """The tables without anything measured."""
    return {table.number: table for table in survey.tables(published.read(ROOT / "data" / "published"), {})}


@pytest.fixture
def various(tmp_path: Path) -> dict[str, survey.Table]:
    """Tables with every state in them."""
    root = make(tmp_path)
    put(root, "dm-cifar10-1", "convnet3", "dsa", 26.0)
    put(root, "dm-cifar10-10", "convnet3", "dsa", 60.0)
    put(root, "dsa-cifar10-1", "convnet3", "dsa", 9.0)
    put(root, "dsa-cifar10-1", "plain18", "dcbench", 25.0)
    put(root, "kfs-cifar10-1", "convnet3", "short", 50.0)
    put(root, "dm-cifar10-1", "plain18", "dcbench", 20.0, overrides={"iterations": 7})
    tables = filled(root)
    assert sum((table.states() for table in tables.values()), Counter()).keys() >= {
        "",
        survey.MISSING,
        State.PUBLISHED,
        State.REDUCED,
    }
    verdicts = sum((table.verdicts() for table in tables.values()), Counter())
    assert verdicts.keys() == {"", survey.AGREES, survey.ABOVE, survey.BELOW}
    return tables


def pipes(text: str) -> list[list[str]]:
    return [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("|")]


def plain(latex: str) -> str:
    text = re.sub(r"\\multicolumn\{\d+\}\{c\}\{(.*)\}$", r"\1", latex)
    text = re.sub(r"\\textbf\{(.*?)\}", r"**\1**", text)
    for mark in "±‡§▲▼◇●⊙○⊕–":
        text = text.replace(LATEX[mark], mark)
    return text.strip()


@pytest.mark.parametrize("number", FILLED)
def test_three_formats_say_the_same(various, number):
    table = various[number]
    words = len(survey_text.headings(table))
    markdown = [row[words:] for row in pipes(survey_text.markdown(table))[2:]]
    latex = [
        [plain(cell) for cell in line.removeprefix("  ").removesuffix(r" \\").split(" & ")][words:]
        for line in survey_text.latex(table).splitlines()
        if line.endswith(r"\\") and ("survey &" in line or "measured &" in line)
    ]
    shown = [[entry.strip() for entry in row if entry.strip()] for row in markdown]
    assert shown == [[entry for entry in row if entry] for row in latex]

    rows = list(csv.DictReader(io.StringIO(survey_text.comma_separated(table))))
    assert len(rows) == len(cells(table))
    assert sum(bool(row["published_mean"]) for row in rows) == FILLED[number]
    entries = [entry for row in shown for entry in row]
    for row in filter(lambda row: row["measured_mean"], rows):
        state, mark = State(row["state"]), "**" if row["measured_best"] == "yes" else ""
        own = f"{state.shape} {mark}{row['measured_mean']} ± {row['measured_std']}{mark}"
        if state in survey.COMPARABLE:
            (entry,) = [entry for entry in entries if entry.startswith(own)]
            judged = f" {float(row['difference']):+.1f} ± {row['error']} {row['verdict']})" if row["verdict"] else ""
            assert entry.endswith(judged)
        else:
            (entry,) = [entry for entry in entries if entry.endswith(own)]
            assert entry.startswith(f"{row['published_mean']} ± {row['published_std']}") and not row["verdict"]
    counted = Counter(row["state"] for row in rows if row["published_mean"])
    assert counted == +table.states()


def test_each_printed_value_stands_once_in_markdown(printed):
    for number, table in printed.items():
        rows = [row for row in pipes(survey_text.markdown(table))[2:] if "survey" in row[:3]]
        values = [entry for row in rows for entry in row if re.match(r"(\*\*)?\d+\.\d ±", entry)]
        assert len(values) == FILLED[number]
        expected = sorted(
            f"{c.published.mean:.1f} ± {c.published.std:.1f}" for c in cells(table).values() if c.published.mean >= 0
        )
        assert sorted(re.search(r"\d+\.\d ± \d+\.\d", value)[0] for value in values) == expected


def test_legend_explains_every_mark(various):
    for table in various.values():
        text, notes = survey_text.markdown(table), "\n".join(survey_text.legend(table))
        for mark in set(re.findall(r"[‡§]\d+", text)):
            assert re.search(rf"^{mark} ", notes, re.MULTILINE)
        for mark in "‡§":
            assert bool(re.search(rf"{mark}\d", text)) == bool(re.search(rf"^{mark} the printed", notes, re.MULTILINE))
        for state in State:
            assert bool(table.states()[state]) == bool(re.search(rf"^{state.shape} {state}: ", notes, re.MULTILINE))
        assert ("◇" in text) == ("◇ a factorised method" in notes)
        for word in (survey.AGREES, survey.ABOVE, survey.BELOW, survey.MISSING):
            assert word in notes


def test_objections_are_said_once(printed):
    notes = survey_legend.doubts(printed["1"])
    assert "§18 DD; LD: The network is LeNet on MNIST and AlexNet-like elsewhere, not a ConvNet." in notes
    assert "‡5 DM MNIST IPC 1, 50: The survey repeats the Herding cell here." in notes
    assert sum(note.startswith("§7 CAFE: ") for note in notes) == 1
    assert sum(note.startswith("§7") for note in notes) == 1


def test_objections_are_grouped_by_place(printed):
    notes = survey_legend.doubts(printed["3"])
    assert "‡10 KIP RN-18 IPC 50 and RN-152 IPC 50: Identical to the MTT row, probably copied from it." in notes
    assert notes[1].startswith("‡9 DC RN-18 IPC 1, 10 and RN-152 IPC 10; DSA RN-18 IPC 1, 10 and RN-152 IPC 10: ")


def test_legend_names_what_has_no_verdict_and_what_is_known_of_n(printed):
    notes = {number: "\n".join(survey_text.legend(table)) for number, table in printed.items()}
    assert "is another row's and the authors' unknown: ‡1, ‡6.\n" in notes["1"]
    assert "is another row's and the authors' unknown: ‡9, ‡10.\n" in notes["3"]
    assert "No verdict" not in notes["2"] + notes["4"]
    assert "it is 200 (DD), 100 (DC, DSA, DM), 20 (LD), 10 (RTP), 5 (MTT, FTD, FRePo, HaBa), 3 (TESLA)." in notes["1"]
    assert "5 (RN-18: DC, DSA, MTT, DM, KIP; RN-152: DC, DSA, MTT, DM, KIP; ConvNet: MTT, FTD)" in notes["3"]


def test_a_row_without_results_is_one_word(various):
    rows = pipes(survey_text.markdown(various["1"]))
    (below,) = [below for row, below in itertools.pairwise(rows) if row[0] == "kfs ◇"]
    assert [entry.strip() for entry in below if entry.strip()] == ["measured", "2 missing"]


def test_summary_counts_what_is_printed(various):
    assert survey_text.summary([various["1"]]) == (
        "232 printed cells: 3 as published, 5 missing, 224 not in the grid (1 agree, 1 above, 1 below)."
    )
    assert survey_text.summary(list(various.values())).startswith("332 printed cells: ")


def test_section_of_the_page(various):
    html = survey_tables.section(list(various.values()), lambda table, line, cell: "")
    for mark in (
        "= +0.0 ± 0.1 agrees",
        "▲ +11.1 ± 0.1 above",
        "▼ -19.8 ± 0.1 below",
        "missing",
        "○ 20.0",
        "authors 28.8 ± 0.7",
    ):
        assert mark in re.sub("</?small>", "", html)
    assert html.count("<table") == html.count("</table>") == 6 + 1 + 1 + 1
    for table in html.split("<table")[1:]:
        head = re.search("<thead><tr>(.*?)</tr>", table)[1]
        columns = sum(int(n) for n in re.findall(r"colspan=(\d+)", head)) or head.count("<th") - 1
        for row in re.findall("<tr[^>]*data-scheme.*?</tr>", table):
            spans = [int(n) for n in re.findall(r"<td[^>]*colspan=(\d+)", row)]
            assert row.count("<td") - len(spans) + sum(spans) == columns
