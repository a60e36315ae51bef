"""Names and notes that want to be more than text in the report's four formats."""

import re
from pathlib import Path

import pytest

from ddpipe import config
from ddpipe.errors import UserError
from ddpipe.report import published, survey, survey_text, tables
from ddpipe.report.frame import collect_all
from ddpipe.report.page import render
from tests.unit.survey_project import make, put

TEXT = "x <script>alert(1)</script> a|b [c](http://d) ![e](http://f) `g` **h** &lt; \\input{/i} \\| $j$\n\n# k\n- l"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = make(tmp_path)
    put(made, "dm-cifar10-1", "convnet3", "dsa", 60.0)
    return made


def test_markdown_shows_what_stands_there(root: Path) -> None:
    """As CommonMark reads it: backslashes and entities undone, the text is the name itself."""
    assert (
        tables.md("convnet2_w16, 83.1 ± 1.2 (n = 5) - |d| > 1; ‡5") == "convnet2_w16, 83.1 ± 1.2 (n = 5) - |d| > 1; ‡5"
    )
    escaped = tables.md(TEXT)
    assert not re.search(r"(?<!\\)(\\\\)*[`*\[\]]|<", escaped) and "\n" not in escaped
    read = re.sub(r"\\([\\`*\[\]])", r"\1", escaped).replace("&lt;", "<").replace("&amp;", "&")
    assert read == " ".join(TEXT.split())
    row = tables.pipes(["a", "b"], [[TEXT, "1"]], 1).splitlines()
    assert len(row) == 3 and len(re.findall(r"(?<!\\)\|", row[2])) == 3  # GFM looks for \| before anything else


def test_every_format_takes_names_and_notes_as_text(root: Path) -> None:
    project = config.load(root)
    frames = collect_all(project)
    for frame in frames.values():
        frame["label"], frame["note"], frame["doubtful"], frame["device"] = TEXT, TEXT, "5", TEXT
    printed = published.read(root / "data/published")
    printed["note"] = TEXT
    filled = survey.tables(printed, frames)
    for text in (tables.markdown(frames["cifar10"], "A title"), *map(survey_text.markdown, filled)):
        assert "\\[c\\](http://d)" in text
        assert not re.search(r"(?<!\\)\[|<script|^# k|^- l", text, re.MULTILINE)
        blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
        assert blocks and all(len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1 for block in blocks)
    for text in (tables.latex(frames["cifar10"], "A title"), *map(survey_text.latex, filled)):
        assert r"\textbackslash{}input\{/i\}" in text and r"\$j\$" in text
        assert not re.search(r"\\input|^# k|^- l", text, re.MULTILINE)
    html = render(project, frames, filled)
    assert "&lt;script&gt;alert(1)" in html and html.count("<script") == 1  # the page's own


def test_the_mark_of_an_objection_is_a_number(root: Path) -> None:
    path = root / "data/published/table1.csv"
    lines = path.read_text().splitlines()
    fields = lines[1].split(",")
    fields[published.COLUMNS.index("doubtful")] = "<b>"
    path.write_text("\n".join([lines[0], ",".join(fields), *lines[2:]]) + "\n")
    with pytest.raises(
        UserError, match=r"table1\.csv, line 2: doubtful must be the number of an objection, or nothing, not '<b>'"
    ):
        published.read(root / "data/published")
