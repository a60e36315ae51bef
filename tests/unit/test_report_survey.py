"""The survey's tables in Markdown, CSV, LaTeX and on the page: one content, every mark explained."""

import csv
import io
import re
from collections import Counter
from pathlib import Path

import pytest

from ddpipe.report import published, survey, survey_page, survey_text
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
    for command, mark in ((r"$\pm$", "±"), (r"\ddag{}", "‡"), (r"$\uparrow$", "▲"), (r"$\downarrow$", "▼")):
        text = text.replace(command, mark)
    return text.replace(r"$\diamond$", "◇").replace("--", "–").strip()


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
    for row in rows:
        if row["measured_mean"]:
            mark = "**" if row["measured_best"] == "yes" else ""
            shape = "" if row["state"] == State.PUBLISHED else f"{State(row['state']).shape} "
            own = f"{mark}{shape}{row['measured_mean']} ± {row['measured_std']}{mark}"
            judged = [entry for entry in entries if entry == own or entry.startswith(f"{own} (")]
            assert judged and row["verdict"] in judged[0]
            if row["difference"]:
                assert f" {float(row['difference']):+.1f} {row['verdict']}" in judged[0]
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
        for number in set(re.findall(r"‡(\d+)", text)):
            assert re.search(rf"^‡{number} ", notes, re.MULTILINE) or number in survey.NO_TARGET
        assert ("◇" in text) == ("◇ a factorised method" in notes)
        for word in (survey.AGREES, survey.ABOVE, survey.BELOW, survey.MISSING):
            assert word in notes


def test_objections_are_said_once(printed):
    notes = survey_text.doubts(printed["1"])
    assert "‡18 DD; LD: The network is LeNet on MNIST and AlexNet-like elsewhere, not a ConvNet." in notes
    assert "‡5 DM MNIST IPC 1, 50: The survey repeats the Herding cell here." in notes
    assert sum(note.startswith("‡7 CAFE: ") for note in notes) == 1
    assert sum(note.startswith("‡7") for note in notes) == 1


def test_summary_counts_what_is_printed(various):
    assert survey_text.summary([various["1"]]) == (
        "232 printed cells: 3 as published, 5 missing, 224 not in the grid (1 agrees, 1 above, 1 below)."
    )
    assert survey_text.summary(list(various.values())).startswith("332 printed cells: ")


def test_section_of_the_page(various):
    html = survey_page.section(list(various.values()))
    for mark in (
        "= +0.0 agrees",
        "▲ +11.1 above",
        "▼ -19.8 below",
        "missing",
        "○ 20.0",
        "authors 28.8 ± 0.7",
    ):
        assert mark in html
    assert html.count("<table") == html.count("</table>") == 4
    for table in html.split("<table")[1:]:
        head = re.search("<thead><tr>(.*?)</tr>", table)[1]
        columns = sum(int(n) for n in re.findall(r"colspan=(\d+)", head)) + head.count("rowspan=2") - 1
        for row in re.findall('<tr><th scope="row">.*?</tr>', table):
            spans = [int(n) for n in re.findall(r"<td[^>]*colspan=(\d+)", row)]
            assert row.count("<td") - len(spans) + sum(spans) == columns
