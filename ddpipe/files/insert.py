"""Entries put into a YAML file of the user's: every other byte stays, comments and line breaks with it."""

import io
import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from ddpipe.files.yaml import flow

BREAK = re.compile(r"\r\n?|\n")

Edit = tuple[int, int, str]  # from where to where, and what stands there then


def insert(text: str, additions: dict[str, dict[str, Any]]) -> str:
    """`text` with the entries of `additions` at the end of its blocks; a block that it lacks comes last.

    New lines end as the first line of `text` does.
    Whether the text then says what it should is for the caller to see: blocks may be written in ways unknown here.
    """
    found = BREAK.search(text)
    end_of_line = found[0] if found else "\n"
    root = YAML(typ="safe", pure=True).compose(text)
    there = {name.value: (name, held) for name, held in root.value}
    edits = [edit for block in additions if block in there for edit in put(text, root, *there[block], additions[block])]
    done, pieces = 0, []
    for start, end, new in sorted(edits):
        pieces += [text[done:start], new.replace("\n", end_of_line)]
        done = end
    text = "".join(pieces) + text[done:]
    for block in [block for block in additions if block not in there]:
        new = f"\n\n{block}:\n{entries(2, additions[block])}"
        text = text.rstrip() + new.replace("\n", end_of_line)
    return text


def put(text: str, root: CollectionNode, name: Node, held: Node, more: dict[str, Any]) -> Iterator[Edit]:
    """What brings the entries `more` into the block `held`, which stands behind its `name`."""
    empty = isinstance(held, ScalarNode) or not held.value
    if empty and not root.flow_style:  # `grid: {}` or `grid:`
        yield len(text[: held.start_mark.index].rstrip(" ")), held.end_mark.index, ""
        yield after(text, name, entries(name.start_mark.column + 2, more))
    elif isinstance(held, MappingNode) and held.flow_style:
        comma, at = ", " if held.value else "", held.end_mark.index - 1
        yield at, at, f"{comma}{flow(more)[1:-1]}"
    else:
        yield after(text, last(held), entries(held.value[0][0].start_mark.column, more))


def last(node: Node) -> Node:
    """The node that ends a block: marks of blocks themselves lie behind the comments that follow."""
    if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
        return node
    entry = node.value[-1]
    return last(entry[1] if isinstance(node, MappingNode) else entry)


def after(text: str, node: Node, more: str) -> Edit:
    """`more` behind the line in which `node` ends."""
    found = BREAK.search(text, node.end_mark.index)
    end = found.end() if found else len(text)
    return end, end, more if found else f"\n{more}"


def entries(indent: int, more: dict[str, Any]) -> str:
    """The lines of entries as DVC writes them, which writes the whole file anew for `dvc exp run -S`."""
    yaml, stream = YAML(), io.StringIO()
    yaml.map_indent = indent
    yaml.dump({"block": {key: braces(value) for key, value in more.items()}}, stream)
    return stream.getvalue().partition("\n")[2]


def braces(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    written = CommentedMap((key, braces(held)) for key, held in value.items())
    written.fa.set_flow_style()
    return written
