"""YAML files -> plain values, in bounded time and memory whatever stands in them."""

import io
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent, ScalarEvent

from ddpipe.errors import UserError
from ddpipe.files.regular import regular

BYTES = 4_000_000  # of a file: all recipes together have a twentieth
DEPTH = 50  # of nesting: reading takes the square of it
VALUES = 100_000  # with every alias written out
NUMBER = re.compile(r"[-+]?[0-9][0-9A-Fa-fox_.]{400,}")  # no number of the program is longer than a float written out


def read_yaml(path: Path) -> Any:
    """YAML 1.2, as DVC reads it: 1e-5 is a number and `on` a word.

    Raises:
        UserError: the file is missing, no YAML, or of a size that settings never have.
    """
    try:
        if regular(path).stat().st_size > BYTES:
            raise UserError(f"{path} is larger than {BYTES // 1_000_000} MB, so these are no settings; put it back")
        text = path.read_text(encoding="utf-8")
        if strange := unfit(text):
            raise UserError(f"{path}, {strange}")
        return YAML(typ="safe").load(text)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; run inside a ddpipe project") from error
    except (YAMLError, ValueError) as error:  # a ValueError: bytes that are no UTF-8, a date that does not exist
        if begun := merging(path):
            sides = f"{path} holds both sides of a merge from line {begun}; keep one and delete the lines of git"
            raise UserError(sides) from error
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f"{path}, line {line + 1}" if line is not None else str(path)
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{where}: not valid YAML ({reason})") from error


def merging(path: Path) -> int | None:
    """The first line that git has written into a file because of a conflict, from 1; None where there is none."""
    lines = enumerate(path.read_bytes().split(b"\n"), 1)
    return next((number for number, line in lines if line.startswith((b"<<<<<<<", b">>>>>>>"))), None)


def flow(value: Any) -> str:
    """`value` as YAML on one line, keys in their order."""
    yaml, stream = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style, yaml.width = True, 10**9
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.dump(value, stream)
    return stream.getvalue().removesuffix("...\n").strip()


def unfit(text: str) -> str:
    """Where and why `text` must not be loaded; "" where it may. Aliases can make gigabytes of a few lines, or a loop.

    Told from the parser's events, one after the other, as loading would already expand the aliases of merge keys.
    """
    total = 0
    opened: list[tuple[str | None, int]] = []  # the anchor of a collection, and what had been counted when it began
    sizes: dict[str, int] = {}  # of what an anchor names, aliases written out; 0 as long as it is not complete
    for event in YAML(typ="safe").parse(text):
        where = f"line {event.start_mark.line + 1}: "
        if isinstance(event, CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = total - before
        elif isinstance(event, AliasEvent):
            if not sizes.get(event.anchor, 1):
                return f"{where}*{event.anchor} is a part of itself; write out what it shall say"
            total += sizes.get(event.anchor, 0)
        elif isinstance(event, NodeEvent):
            total += 1
            if tag := getattr(event, "tag", None):
                return f"{where}the tag {tag} means nothing here; remove it"
            if isinstance(event, CollectionStartEvent):
                opened.append((event.anchor, total - 1))
            elif isinstance(event, ScalarEvent) and not event.style and NUMBER.fullmatch(event.value):
                return f"{where}a number of {len(event.value)} digits; write a shorter one"
            if event.anchor:
                sizes[event.anchor] = 0 if isinstance(event, CollectionStartEvent) else 1
        if len(opened) > DEPTH:
            return f"{where}more than {DEPTH} brackets or levels inside each other; these are no settings"
        if total > VALUES:
            return f"{where}more than {VALUES} values, aliases written out; these are no settings"
    return ""
