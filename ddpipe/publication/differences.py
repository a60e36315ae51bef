"""How the settings that something ran with differ from published ones: two records compared key by key.

No key is named here but those that mean the same everywhere (`augment`). A record says itself which of its keys change
no number (`aside`); whole numbers are counts, of which fewer are less work; a part with another name is another part.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ddpipe.settings import Settings, strategy
from ddpipe.settings.datasets import Whitening
from ddpipe.settings.labels import Labels
from ddpipe.settings.method import Method
from ddpipe.settings.optimizers import Clip, Cosine, Drop, Steps
from ddpipe.settings.part import Part

NUMBERS = (Drop, Steps, Cosine, Clip, Whitening)  # blocks that are numbers of something, and no part of a method
PREFIXES = (*strategy.OTHERS, strategy.IDC)


class Kind(IntEnum):
    """The most telling one first."""

    PART = 0  # another part of the method, or one more or fewer
    LESS = 1  # a smaller count, a narrower network, a part of an augmentation
    ANOTHER = 2  # a network or a protocol of another kind
    OTHER = 3  # any other number or word


@dataclass(frozen=True)
class Difference:
    path: tuple[str, ...]
    ran: Any
    published: Any
    kind: Kind

    @property
    def share(self) -> float:
        """How much of a count is left, or of the operations of an augmentation, beside the image itself; else 1.0."""
        if self.path[-1:] == ("augment",) and self.kind is Kind.LESS:
            own, theirs = map(strategy.operations, (self.ran, self.published))
            return (1 + len(own)) / (1 + len(theirs))
        pairs = [(a, b) for a, b in zip(numbers(self.ran), numbers(self.published), strict=False) if b]
        return min((a / b for a, b in pairs), default=1.0)


def of_methods(ran: Method, published: Method) -> Iterator[Difference]:
    """First the parts that are others, then numbers."""
    own, theirs = ran.parts(), published.parts()
    others = [key for key in dict.fromkeys([*theirs, *own]) if type(own.get(key)) is not type(theirs.get(key))]
    for key in others:
        yield Difference((key,), word(own.get(key)), word(theirs.get(key)), Kind.PART)
    if idle := ran.steps == 0 < published.steps:  # the set as it begins
        yield Difference(("iterations",), 0, published.steps, Kind.PART)
    if type(ran) is type(published):
        blocks = {key.partition(".")[0] for key in others} | ({"iterations"} if idle else set())
        yield from (found for found in of_records(ran, published) if found.path[0] not in blocks)


def word(part: Part | None) -> str | None:
    return None if part is None else part.word


def of_records(ran: Settings, published: Settings, path: tuple[str, ...] = ()) -> Iterator[Difference]:
    """Of two records of one class, but for the keys that the class puts aside."""
    for key in type(published).model_fields:
        if key not in published.aside:
            yield from of_values(getattr(ran, key), getattr(published, key), (*path, key), published)


def of_values(ran: Any, published: Any, path: tuple[str, ...], of: Settings | None) -> Iterator[Difference]:
    """Of two values of one key of the record `of`."""
    blocks = [value for value in (ran, published) if isinstance(value, Settings)]
    if ran == published:
        return
    if isinstance(ran, dict) and isinstance(published, dict):  # of groups that both learn: which they are, parts tell
        for key in published:
            if key in ran:
                yield from of_values(ran[key], published[key], (*path, key), None)
    elif len(blocks) == 2 and type(ran) is type(published):
        yield from of_records(ran, published, path)
    elif blocks:
        kind = Kind.OTHER if isinstance(blocks[0], NUMBERS) else Kind.PART
        yield Difference(path, named(ran), named(published), kind)
    else:
        yield Difference(path, ran, published, kind_of(ran, published, path[-1], of))


def named(block: Any) -> Any:
    """A block in a word: its name where it has one, or that there is one."""
    return getattr(block, "name", True) if isinstance(block, Settings) else block


def kind_of(ran: Any, published: Any, key: str, of: Settings | None) -> Kind:
    if isinstance(of, Labels) and key == "learned":
        return Kind.PART
    if key == "augment":
        return augmentation(ran, published)
    return Kind.LESS if fewer(ran, published) else Kind.OTHER


def augmentation(ran: str, published: str) -> Kind:
    """Whether it is a part of the published one, or another; operations that one family composes are compared."""
    own, theirs = set(strategy.operations(ran)), set(strategy.operations(published))
    alike = not own or family(ran) == family(published)
    return Kind.LESS if alike and own < theirs else Kind.OTHER if own == theirs and alike else Kind.PART


def family(augment: str) -> str:
    return next((prefix for prefix in PREFIXES if augment.startswith(prefix)), "")


def fewer(ran: Any, published: Any) -> bool:
    """Whether a count is smaller: one of several numbers, or how many there are. 0 is no count: another one is used."""
    own, theirs = numbers(ran), numbers(published)
    if not own or not theirs:
        return False
    own, theirs = [(short * len(long) if len(short) == 1 else short) for short, long in ((own, theirs), (theirs, own))]
    return len(own) < len(theirs) or any(0 < a < b for a, b in zip(own, theirs, strict=False))


def numbers(value: Any) -> list[int]:
    """Whole numbers, one or several; none of anything else."""
    values = list(value) if isinstance(value, tuple) else [value]
    return values if all(isinstance(each, int) and not isinstance(each, bool) for each in values) else []
