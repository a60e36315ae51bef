"""What the page is worth, at its top: how many printed cells are in which state, and where the results come from."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import pandas as pd

from ddpipe.report.html.markup import facts, kind
from ddpipe.report.survey import MISSING, Table
from ddpipe.states import State

OUTSIDE = "not in the grid"


def section(tables: Sequence[Table], frames: Mapping[str, pd.DataFrame]) -> str:
    """Counts of the printed cells of all `tables`, and commit, hardware and date of what `frames` hold."""
    counts: Counter[str] = Counter()
    for table in tables:
        counts += table.states()
    tiles, parts = [], []
    for state in (*State, MISSING, ""):
        if not counts[state] and state == State.OWN:
            continue
        shape = f"{state.shape} " if isinstance(state, State) else ""
        named = f'class="{kind(state)}"'
        tiles.append(f"<li {named}><b>{shape}{counts[state]}</b> {escape(state or OUTSIDE)}</li>")
        if counts[state]:
            parts.append(f'<i {named} style="flex-grow:{counts[state]}"></i>')
    said = f"of {counts.total()} printed cells of the survey's tables"
    shares = f"<ul class=tiles>{''.join(tiles)}</ul><div class=bar aria-hidden=true>{''.join(parts)}</div>"
    shares = f"{shares}<p class=soft>{said}</p>" if tables else ""
    return f'<section class=strip aria-label="Status">{shares}{facts(origins(frames.values()))}</section>'


def origins(frames: Iterable[pd.DataFrame]) -> dict[str, str]:
    """From which code and machines the results of `frames` come, the most frequent first, as names and HTML."""
    rows = [frame[frame["mean"].notna()] for frame in frames]
    measured = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()
    newest = max(filter(None, column(measured, "when")), default="")
    return {
        "Results": f"{len(measured)} evaluations" if len(measured) else "none yet",
        "Newest": escape(newest),
        "Commit": frequent(column(measured, "commit")),
        "Hardware": frequent(column(measured, "hardware") or column(measured, "device")),
        "Versions": frequent(column(measured, "versions")),
    }


def column(frame: pd.DataFrame, name: str) -> list[str]:
    """The words of a column that not every ledger of costs has; none where nothing is known."""
    return [str(word) for word in frame[name] if word and word == word] if name in frame else []


def frequent(words: Iterable[str]) -> str:
    """The first few of them with their counts."""
    counts = Counter(words)
    said = [f"{escape(word)} ({count})" if len(counts) > 1 else escape(word) for word, count in counts.most_common(3)]
    return "; ".join(said) + (f"; {len(counts) - 3} more" if len(counts) > 3 else "")
