"""What a result is worth beside a published one: a state, and in words what keeps it from being as published."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ddpipe import settings
from ddpipe.config import Config, ResultKey
from ddpipe.pipeline.descriptions import Result
from ddpipe.planning.shapes import data_of
from ddpipe.publication.authors import Authors, Target, shape
from ddpipe.publication.block import Block, desk, ran
from ddpipe.publication.differences import Difference, Kind, of_methods, of_records
from ddpipe.publication.matching import printed, table_of
from ddpipe.settings.shapes import Shape
from ddpipe.states import State

SHOWN = 5  # reasons in a line
UNSURE = "made with numbers that are no longer stated"


@dataclass(frozen=True)
class Told:
    state: State
    reasons: tuple[str, ...]  # the most telling first; () where it is as published
    method: str = ""  # of the printed cell for which it stands; "" where it stands for none
    network: str = ""

    @property
    def why(self) -> str:
        """The first reasons, and how many more there are."""
        more = len(self.reasons) - SHOWN
        return ", ".join([*self.reasons[:SHOWN], *([f"and {more} more"] if more > 0 else [])])


class Publication:
    """What is told of the evaluations of one project."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def authors(self) -> Authors:
        return Authors(self.config)

    def told(self, key: ResultKey, result: Result | None = None) -> Told:
        """Of a result; without one, what it would be by the numbers that are stated now.

        Raises:
            UserError: the settings of the cell, or of its recipe, do not go together.
        """
        own, sure = ran(self.config, key, result) if result else (desk(self.config, key), True)
        target = self.authors.target(key, own.network)
        found = list(differences(own, target, key, self._shape(own.data, key), self._published(key, target)))
        unsure = [] if sure else [UNSURE]
        state = state_of(found, [*unsure, *target.doubts])
        doubts = target.doubts if state is State.UNVERIFIED else ()  # where more differs, that is what there is to say
        reasons = (*words(found), *unsure, *doubts)
        return Told(state, reasons, *self._cell(key, own, target, state))

    def _shape(self, data: settings.Dataset, key: ResultKey) -> Shape | None:
        """That of what ran; images of one's own tell theirs once they are prepared."""
        if (known := shape(data)) is not None:
            return known
        there = data_of(self.config, self.config.row(key.cell).data)
        return there.shape if there else None

    def _published(self, key: ResultKey, target: Target) -> Shape | None:
        """That of what was published: of other data it says no more than how large images are."""
        dataset, found = self.config.row(key.cell).dataset, shape(target.block.data)
        if found is None or dataset == target.dataset:
            return found
        return None if dataset in self.authors.known.survey else replace(found, classes=0)

    def _cell(self, key: ResultKey, own: Block, target: Target, state: State) -> tuple[str, str]:
        """Method and network of the survey's cell for which an evaluation stands.

        That is the recipe's, by the network and the protocol of the row or of its authors; networks of Tables 3 and 4
        are told by their settings. Variants and combinations stand in no table.
        """
        row = self.config.row(key.cell)
        if state is State.OWN or row.variant or self.authors.known.variant(row):
            return "", ""
        if row.dataset not in self.authors.known.survey:
            return "", ""
        if not table_of(own.network) and (
            key.network != row.network or key.protocol not in (row.protocol, target.protocol)
        ):
            return "", ""
        return row.recipe, printed(own.network)


def state_of(found: list[Difference], doubts: list[str]) -> State:
    """Another part makes it a combination whatever else differs; another network or protocol only at full size."""
    kinds = {difference.kind for difference in found}
    if Kind.PART in kinds:
        return State.OWN
    if Kind.LESS in kinds:
        return State.REDUCED
    if Kind.ANOTHER in kinds:
        return State.OWN
    return State.UNVERIFIED if found or doubts else State.PUBLISHED


def differences(
    own: Block, target: Target, key: ResultKey, shown: Shape | None, published: Shape | None
) -> Iterator[Difference]:
    """Of everything that was run, each path led by the field of a block.

    Args:
        shown, published: the images of both, where they are known.
    """
    theirs = target.block
    yield from within("settings", of_methods(own.settings, theirs.settings))
    yield from within("network", of_kinds(own.network, theirs.network))
    chosen = isinstance(own.settings, settings.Selection) and not own.settings.embedded  # by no network
    if not chosen and (own.student != own.network or theirs.student != theirs.network):
        yield from within("student", of_kinds(own.student, theirs.student))
    protocol = list(of_kinds(own.protocol, theirs.protocol))
    if protocol and key.protocol != target.protocol:
        yield Difference(("protocol",), key.protocol, target.protocol, Kind.ANOTHER)
    yield from within("protocol", [found for found in protocol if found.path or key.protocol == target.protocol])
    yield from within("data", of_shapes(shown, published))
    if theirs.data.source == own.data.source:
        shaping = ("resolution", "classes")
        numbers = of_records(own.data.model_copy(update={"path": None}), theirs.data)
        yield from within("data", (found for found in numbers if found.path[0] not in shaping))
    for key_ in ("experts", "generators"):
        ours, other = getattr(own, key_), getattr(theirs, key_)
        if ours is not None and other is not None:  # whether there are any, parts tell
            yield from within(key_, of_records(ours, other))


def within(field: str, found: Iterator[Difference] | list[Difference]) -> Iterator[Difference]:
    return (replace(difference, path=(field, *difference.path)) for difference in found)


def of_kinds(own: Any, theirs: Any) -> Iterator[Difference]:
    """Of two networks, or of two protocols."""
    if type(own) is not type(theirs):
        yield Difference((), own.kind, theirs.kind, Kind.ANOTHER)
    else:
        for found in of_records(own, theirs):
            yield replace(found, kind=max(found.kind, Kind.LESS) if found.kind is not Kind.PART else Kind.OTHER)


def of_shapes(own: Shape | None, theirs: Shape | None) -> Iterator[Difference]:
    """Where images or classes are fewer."""
    if own and theirs:
        for name in ("resolution", "classes"):
            ours, published = getattr(own, name), getattr(theirs, name)
            if ours < published:
                yield Difference((name,), ours, published, Kind.LESS)


def words(found: list[Difference]) -> Iterator[str]:
    """A reason a difference, the most telling first: other parts, what is reduced by how much of it is left, the rest.

    What is told of the network and of the student, or of the method and its evaluation, in the same words is told once.
    """
    told: set[str] = set()
    for difference in sorted(found, key=lambda each: (each.kind, each.share)):
        field, *path = difference.path
        name = named(field, path)
        if (sentence := reason(name, difference)) not in told:
            told.add(sentence)
            yield sentence


def named(field: str, path: list[str]) -> str:
    """How a key is called: as in its file, in words; of experts, generators and students, whose it is."""
    if path and path[0] == "outer":
        path = path[1:]
    name = ".".join("augmentation" if key == "augment" else key.replace("_", " ") for key in path)
    if field in ("settings", "network", "protocol", "data"):
        return name or field
    return f"{field}' {name}" if field.endswith("s") else name or field


def reason(name: str, difference: Difference) -> str:
    own, theirs = shown(difference.ran), shown(difference.published)
    if difference.kind is Kind.LESS or (difference.kind is Kind.PART and type(difference.ran) is int):
        return f"{name} {own} of {theirs}"
    if difference.kind is Kind.PART and difference.published is None:
        return f"{name} added" if difference.ran is True else f"{name} {own} added"
    if difference.kind is Kind.PART and difference.ran is None:
        return f"no {name}"
    return f"{name} {own} in place of {theirs}"


def shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return "-".join(map(shown, value))
    return str(value)
