"""Settings from what a file says: the first mistake becomes one sentence that names its key."""

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ddpipe.errors import UserError
from ddpipe.settings.base import FILE, UNSTATED, missing
from ddpipe.settings.keys import fields_at

QUOTED = "', '"  # between the words that pydantic lists
DECIDING = ("name", "kind", "optimizer")  # words of a block that say which keys it has


def did_you_mean(word: object, known: list[str]) -> str:
    close = difflib.get_close_matches(shorten(str(word)), list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}" if known else ""


def validate(kind: Any, value: Any, where: str) -> Any:
    """`value` as settings class `kind`; the first mistake becomes one sentence that starts with `where` and its key."""
    try:
        return adapter(kind).validate_python(value, context=FILE)
    except ValidationError as error:
        first = next((e for e in error.errors() if e["type"] == "extra_forbidden"), error.errors()[0])
        gone = [e["loc"][-1] for e in error.errors() if e["type"] == "missing" and e["loc"][:-1] == first["loc"][:-1]]
        absent = gone[:1] if first["type"] == "missing" else [first["ctx"]["key"]] if first["type"] == UNSTATED else []
        path = [*_keys(value, first["loc"]), *absent]
        words = ["null" if step is None else shorten(str(step)) for step in path]
        key = ".".join([where, *words] if where else words)
        if first["type"] == "extra_forbidden":
            near = did_you_mean(path[-1], fields_at(kind, first["loc"][:-1]))
            told = chosen(value, path) or implied(first["loc"], path)
            raise UserError(f"{key}: unknown key{told}{near}") from None
        if first["type"] == "missing":
            raise UserError(f"{key}: {missing([str(name) for name in gone[1:]], chosen(value, path))}") from None
        if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
            raise UserError(f"{key and f'{key}.'}{tagged(first)}") from None
        if first["type"].startswith("union_tag"):  # a kind of ours says it in its own words
            raise UserError(f"{key}: {first['msg']}") from None
        own_words = first["type"] in ("value_error", UNSTATED) or isinstance(first["input"], dict | list)
        shown = "" if own_words else f", not {brief(first['input'])}"
        reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        because = chosen(value, path, every=True) if first["type"] == UNSTATED else ""
        raise UserError(f"{key and f'{key}: '}{reason}{shown}{because}") from None


def tagged(error: Any) -> str:
    """Of a block whose word that decides its keys is missing or unknown: that word's key, and what it may be."""
    told = error["ctx"]
    word = told["discriminator"].strip("'")
    if "tag" not in told:
        return f"{word}: {missing()}"
    known = told["expected_tags"][1:-1].split(QUOTED)
    return f"{word}: there is no {brief(told['tag'])}{did_you_mean(told['tag'], known)}"


def chosen(value: Any, path: list[Any], every: bool = False) -> str:
    """What decides which keys stand beside the one at `path`: the name, kind or optimiser of their block, or every word
    in it, of which any may ask for a key."""
    for step in path[:-1]:
        value = value[step]
    words = value.items() if isinstance(value, dict) else ()
    known = [(key, word) for key, word in words if (every and isinstance(word, str)) or key in DECIDING]
    said = [f"{key} is {brief(word)}" for key, word in known]
    return f" ({', '.join(said)})" if said else ""


def implied(location: tuple[Any, ...], path: list[Any]) -> str:
    """What a block that names no kind was taken for: pydantic has that in its location, before the key."""
    before = location[-2] if len(location) > 1 else None
    is_a_key = len(path) > 1 and str(path[-2]) == str(before)
    return "" if before is None or is_a_key else f" (without a kind it is {before})"


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """pydantic's reader of a settings class, which takes longer to build than to use."""
    return TypeAdapter(kind)


def brief(value: object) -> str:
    """`value` as Python writes it, short enough for a sentence."""
    try:
        return shorten(repr(value))
    except ValueError:  # Python refuses to write numbers of thousands of digits
        return "a number of thousands of digits"


def shorten(word: str) -> str:
    """`word` short enough for a sentence; no name is longer."""
    return word if len(word) <= 100 else f"{word[:97]}..."


def _keys(value: Any, location: tuple[Any, ...]) -> Iterator[Any]:
    """The parts of pydantic's location that are keys of the file: tags of unions and missing keys are not."""
    for step in location:
        held = range(len(value)) if isinstance(value, list | tuple) else value if isinstance(value, dict) else ()
        for key in [key for key in held if str(key) == str(step)][:1]:  # of a null pydantic says 'None'
            yield key
            value = value[key]
