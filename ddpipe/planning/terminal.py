"""Text that fits a terminal of 100 columns."""

import io
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 100


def table(rows: Iterable[Sequence[str]], heading: Sequence[str] = (), right: int = 0, width: int = WIDTH) -> list[str]:
    """Lines with columns of words, the last `right` of numbers; what is too long for its column goes on below."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = [tuple(row) for row in rows]
    columns = len(heading or lines[0])
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(heading))
    for place in range(columns):
        name = heading[place] if heading else ""
        shown.add_column(
            name, justify="right" if place >= columns - right else "left", overflow="fold", no_wrap=not place
        )
    for line in lines:
        shown.add_row(*map(Text, line))
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None, force_terminal=False).print(shown)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def wrapped(text: str, indent: int = 2) -> list[str]:
    """One line of words on as many as it takes; those after the first stand further in. No word is broken."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_on_hyphens=False,
        break_long_words=False,
    )
