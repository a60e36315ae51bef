"""The README shows what the pipeline printed, not what somebody remembered."""

import re
from pathlib import Path

from tests.tracked import TRACKED

ROOT = Path(__file__).parents[2]


def table(text: str) -> list[str]:
    """The first Markdown table of a page."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    return [line for line in lines[start:] if line.startswith("|")][
        : next((i for i, line in enumerate(lines[start:]) if not line.startswith("|")), len(lines))
    ]


def test_table_is_the_report_s() -> None:
    readme = (TRACKED / "README.md").read_text()
    shown = re.search(r"<!-- table of (\S+) -->\n(.*?)<!-- end of table -->", readme, re.DOTALL)
    assert shown, "README.md has lost its table"
    assert table(shown[2]) == table((TRACKED / shown[1]).read_text())


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (TRACKED / "README.md").read_text()):
        assert (TRACKED / target).exists(), f"README.md links {target}"
