"""What every table explains below itself: its marks, the states of its results, and what was not as published."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ddpipe.states import State

MEANINGS = {
    State.PUBLISHED: "the recipe's published numbers, its network and its protocol",
    State.UNVERIFIED: "some of those numbers nobody published, or others may stand behind the printed value",
    State.REDUCED: "fewer iterations, a smaller network, batch or protocol than published",
    State.OWN: "other parts than the published method's",
}
MARKS = {
    "‡": "the printed value is wrong, or very likely so",
    "§": "the printed value is as its source has it, but another protocol, network, variant, run or edition stands "
    "behind it than its place in the table tells",
}
MORE = re.compile(r"and \d+ more")
COMMON = 4  # a line of its own for what holds for one in so many methods


@dataclass(frozen=True)
class Told:
    """One result: whose it is, where it stands, and what keeps it from being as published ("a 1 of 2, b 3 of 4")."""

    label: str
    dataset: str  # "" where the table has one only
    ipc: str
    state: State
    why: str

    @property
    def clauses(self) -> list[str]:
        """Without "and 2 more", which tells that `why` leaves some out; lists keep their commas."""
        found = re.split(r", (?![^\[(]*[\])])", self.why)
        return [clause for clause in found if clause and not MORE.fullmatch(clause)]


def marks(used: Iterable[str]) -> list[str]:
    """The meaning of each mark that begins one of `used` ("‡5")."""
    begin = {use[:1] for use in used}
    return [f"{mark} {meaning}." for mark, meaning in MARKS.items() if mark in begin]


def states(results: Iterable[Told], explained: Iterable[Told]) -> list[str]:
    """What the shapes mean that occur in `results`, and below ⊙ and ○ what was not as published in those `explained`.

    A clause that holds for many methods has a line of its own for all its numbers ("○ iterations: 300 of 20,000 (DM,
    DC IPC 1), 150 of 5,000 (MTT)"); the others stand in one line, equal words once.
    """
    shown, explained, notes = {result.state for result in results}, list(explained), list[str]()
    for state in State:
        if state in shown:
            notes.append(f"{state.shape} {state}: {MEANINGS[state]}.")
        if state in (State.UNVERIFIED, State.REDUCED):
            notes += _reasons(state.shape, [result for result in explained if result.state == state])
    if any(MORE.search(result.why) for result in explained):
        notes.append("Of many differences only the foremost are listed; `ddpipe explain CELL` tells all of a cell.")
    return notes


def _reasons(shape: str, results: Sequence[Told]) -> list[str]:
    topics: dict[str, dict[str, list[Told]]] = {}  # "iterations" -> "300 of 20,000" -> results
    for result in results:
        for clause in result.clauses:
            topic, value = _topic(clause)
            topics.setdefault(topic, {}).setdefault(value, []).append(result)
    everyone = _labels(results)
    common = {}
    for topic, values in topics.items():
        said = _labels([result for found in values.values() for result in found])
        if len(said) > 1 and len(everyone) <= COMMON * len(said):
            common[topic] = values
    notes = []
    for topic, values in common.items():
        words = [f"{value} ({where(found, results)})".strip() for value, found in values.items()]
        notes.append(f"{shape} {topic}{'' if '' in values else ':'} {', '.join(words)}.")
    rest: dict[str, list[Told]] = {}
    for result in results:
        words = [clause for clause in result.clauses if _topic(clause)[0] not in common]
        if words:
            rest.setdefault(", ".join(words), []).append(result)
    if rest:
        notes.append(f"{shape} {'; '.join(f'{where(found, results)}: {text}' for text, found in rest.items())}.")
    return notes


def _labels(results: Iterable[Told]) -> list[str]:
    return list(dict.fromkeys(result.label for result in results))


def _topic(clause: str) -> tuple[str, str]:
    """What a clause is about, and its numbers: ("iterations", "300 of 20,000")."""
    found = re.fullmatch(r"(.*?) (\S+ (in place )?of .*|[\d\[(].*)", clause)
    return (found[1], found[2]) if found else (clause, "")


def where(found: Sequence[Told], among: Sequence[Told]) -> str:
    """`found` in words: a label alone where it is all of the label's among `among`; "all" where it is all of them."""
    if len(found) == len(among) and len(_labels(found)) > 1:
        return "all"
    words = []
    for label in _labels(found):
        own = [result for result in found if result.label == label]
        whole = len(own) == sum(result.label == label for result in among)
        words.append(label if whole else f"{label} {places([(result.dataset, result.ipc) for result in own])}")
    return ", ".join(words)


def places(cells: Iterable[tuple[str, str]]) -> str:
    """Datasets (or networks) and IPCs in words: "MNIST IPC 1, 10 and SVHN IPC 1"; equals once."""
    by_name: dict[str, list[str]] = {}
    for name, ipc in dict.fromkeys(cells):
        by_name.setdefault(name, []).append(ipc)
    return " and ".join(f"{name} {_ipcs(ipcs)}".strip() for name, ipcs in by_name.items())


def _ipcs(ipcs: Sequence[str]) -> str:
    numbers = [ipc for ipc in ipcs if ipc != "all"]
    words = [f"IPC {', '.join(numbers)}"] if numbers else []
    return ", ".join([*words, *(["whole set"] if "all" in ipcs else [])])
