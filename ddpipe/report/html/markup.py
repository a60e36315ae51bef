"""Pieces of HTML that several parts of the page need. What is called `text` is escaped, `html` is not."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from ddpipe.report.drawings import Drawing
from ddpipe.states import State


def anchor(*words: str) -> str:
    """What an address can end in: `anchor("t1", "dm", "cifar10", "10")` is t1-dm-cifar10-10."""
    return re.sub(r"[^\w.-]+", "-", "-".join(words))


def badge(state: State) -> str:
    """The shape and the word of a state."""
    return f"<span class=badge>{state.shape} {state}</span>"


def kind(state: str) -> str:
    """The word by which a printed cell is found and coloured: its state's name, missing, or outside of the grid."""
    return state.name.lower() if isinstance(state, State) else state or "outside"


def region(text: str, html: str) -> str:
    """A table that scrolls by itself, with keys too, where it is wider than the page."""
    return f'<div class=scroll tabindex=0 role="region" aria-label="{escape(text)}">{html}</div>'


def sheet(text: str, header: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """A table of text: its first `words` columns hold words, the others numbers."""
    classes = [" class=word" if i < words else "" for i in range(len(header))]
    heads = "".join(f'<th scope="col"{own}>{escape(name)}</th>' for own, name in zip(classes, header, strict=True))
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td{own}>{escape(cell)}</td>" for own, cell in zip(classes[1:], others, strict=True))
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    table = f"<table class=long><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return region(text, table)


def facts(pairs: Mapping[str, str]) -> str:
    """A list of names (text) and what is known of them (HTML); what is empty is left out."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{html}</dd>" for name, html in pairs.items() if html)
    return f"<dl>{items}</dl>" if items else ""


def bullets(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul class=notes>{items}</ul>" if items else ""


def folded(text: str, html: str, kind: str = "") -> str:
    """What opens where it is chosen, and in print; what is `bulky` stays away from there."""
    return f"<details{f' class={kind}' if kind else ''}><summary>{escape(text)}</summary>{html}</details>"


def drawn(drawing: Drawing) -> str:
    """A figure that names itself, with its words below."""
    return f"<figure>{drawing.svg}<figcaption>{escape(drawing.caption)}</figcaption></figure>"
