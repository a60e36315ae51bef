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
        found = list(differences(own, target, key, self._shape(own.data, key)))
        unsure = [] if sure else [UNSURE]
        state = state_of(found, [*unsure, *target.doubts])
        doubts = target.doubts if state is State.UNVERIFIED else ()  # where more differs, that is what there is to say
        reasons = (*words(found), *unsure, *doubts)
        return Told(state, reasons, *self._cell(key, own, target, state))

    def of_evaluation(self, key: ResultKey) -> Told:
        """What an accuracy is worth if the set itself is the authors' own: only how it is evaluated counts."""
        own = desk(self.config, key)
        target = self.authors.target(key, own.network)
        every = differences(own, target, key, self._shape(own.data, key))
        found = [difference for difference in every if difference.path[0] in ("network", "protocol", "data")]
        return Told(state_of(found, []), tuple(words(found)))

    def _shape(self, data: settings.Dataset, key: ResultKey) -> Shape | None:
        """That of what ran; images of one's own tell theirs once they are prepared."""
        if (known := shape(data)) is not None:
            return known
        there = data_of(self.config, self.config.row(key.cell).data)
        return there.shape if there else None

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


def differences(own: Block, target: Target, key: ResultKey, images: Shape | None) -> Iterator[Difference]:
    """Of everything that was run, each path led by the field of a block.

    Args:
        images: what ran with, where that is known.
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
    yield from within("data", of_data(own.data, theirs.data, images, target.known))
    if own.experts and theirs.experts:  # whether there are any, parts tell; generators have some too
        yield from within("experts", of_records(own.experts, theirs.experts))
        yield from within("expert", of_kinds(own.expert, theirs.expert))
    if own.generators and theirs.generators:
        yield from within("generators", of_records(own.generators, theirs.generators))


def within(field: str, found: Iterator[Difference] | list[Difference]) -> Iterator[Difference]:
    return (replace(difference, path=(field, *difference.path)) for difference in found)


def of_kinds(own: Any, theirs: Any) -> Iterator[Difference]:
    """Of two networks, or of two protocols."""
    if type(own) is not type(theirs):
        yield Difference((), own.kind, theirs.kind, Kind.ANOTHER)
    else:
        for found in of_records(own, theirs):
            yield replace(found, kind=Kind.OTHER) if found.kind is Kind.PART else found


def of_data(own: settings.Dataset, theirs: settings.Dataset, images: Shape | None, known: bool) -> Iterator[Difference]:
    """Of two prepared forms of one dataset; of a dataset that is not `known`, whether its images are smaller."""
    published = shape(theirs)
    if images and published:
        for name in ("resolution", "classes") if known else ("resolution",):
            ours, whole = getattr(images, name), getattr(published, name)
            if ours < whole:
                yield Difference((name,), ours, whole, Kind.LESS)
    if known and own.source != theirs.source:
        yield Difference(("source",), own.source, theirs.source, Kind.PART)
    elif known:
        told = ("resolution", "classes")
        yield from (found for found in of_records(own, theirs) if found.path[0] not in told)


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
            yield f"{field}'s {sentence}" if path and field in ("student", "expert") else sentence


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
