"""Entries put into a YAML file of the user's: every other byte stays, comments and line breaks with it."""

import textwrap
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from ddpipe.files.yaml import flow

WIDTH = 120


def insert(text: str, additions: dict[str, dict[str, Any]]) -> str:
    """`text` with the entries of `additions` at the end of its blocks; a block that it lacks comes last.

    Whether the text then says what it should is for the caller to see: blocks may be written in ways unknown here.
    """
    for block, entries in additions.items():
        for key, value in entries.items():
            text = put(text, block, key, value)
    return text


def put(text: str, block: str, key: str, value: Any) -> str:
    root = YAML(typ="safe", pure=True).compose(text)
    found = {name.value: (name, held) for name, held in root.value}
    if block not in found:
        return f"{text.rstrip()}\n\n{block}:\n{lines(2, key, value)}"
    name, held = found[block]
    empty = isinstance(held, ScalarNode) or not held.value
    if empty and not root.flow_style:  # `grid: {}` or `grid:`
        text = text[: held.start_mark.index].rstrip(" ") + text[held.end_mark.index :]
        return after(text, name, lines(name.start_mark.column + 2, key, value))
    if isinstance(held, MappingNode) and held.flow_style:
        comma = ", " if held.value else ""
        at = held.end_mark.index - 1
        return f"{text[:at]}{comma}{flow({key: value})[1:-1]}{text[at:]}"
    return after(text, last(held), lines(held.value[0][0].start_mark.column, key, value))


def last(node: Node) -> Node:
    """The node that ends a block: marks of blocks themselves lie behind the comments that follow."""
    if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
        return node
    entry = node.value[-1]
    return last(entry[1] if isinstance(node, MappingNode) else entry)


def after(text: str, node: Node, more: str) -> str:
    """`more` behind the line in which `node` ends."""
    end = text.find("\n", node.end_mark.index)
    return f"{text}\n{more}" if end < 0 else text[: end + 1] + more + text[end + 1 :]


def lines(indent: int, key: str, value: Any) -> str:
    """An entry in the house's layout: on one line, or braces below the key."""
    margin, (name, said) = " " * indent, (flow({key: None})[1:-1].partition(":")[0], flow(value))
    if len(one := f"{margin}{name}: {said}") <= WIDTH:
        return f"{one}\n"
    kept = textwrap.wrap(said.replace(": ", ":\0"), WIDTH - indent - 3, break_long_words=False, break_on_hyphens=False)
    wrapped = f"\n{margin}   ".join(kept).replace(":\0", ": ")
    return f"{margin}{name}:\n{margin}  {wrapped}\n"
