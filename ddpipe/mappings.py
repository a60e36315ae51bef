"""Nested mappings: one put over another, and their numbers one by one."""

from collections.abc import Iterator
from typing import Any


def merge(base: Any, change: Any) -> Any:
    """`base` with the keys of `change` put over it, mapping by mapping.

    A part with another name replaces the part: the old one's numbers mean nothing to it. A null takes its key out, so
    that the setting is what it is when nobody names it.
    """
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    if "name" in change and change["name"] != base.get("name"):
        return change
    changed = base | {key: merge(base.get(key), value) for key, value in change.items()}
    return {key: value for key, value in changed.items() if key not in change or value is not None}


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The (path, value) pairs of a nested mapping."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, (*path, str(key)))
    else:
        yield path, tree
