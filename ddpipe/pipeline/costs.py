"""What finished outputs cost (seconds, memory, on which hardware, at which commit): data/costs/<name>.json, a ledger a
stage.

Seconds differ from run to run. They lie in no output of a stage, so that they make nothing stale; git keeps them, so
that everybody's report shows them. An entry is found by the seal of the output that it is about, and is made once: the
same bytes made again, on whichever machine, leave it as it is, and with it the reports that show it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ddpipe.files import artifacts
from ddpipe.pipeline import descriptions
from ddpipe.pipeline.descriptions import Cost, Spent

FOLDER = Path("data/costs")
APART = " / "  # between the names of hardware of which each did a part
MEND = "put it back (git keeps it), or delete it: reports then show no seconds"


def place(name: str) -> Path:
    """The ledger of <cell>, experts.<buffer>, generators.<generator> or <cell>.<network>.<protocol>, relative to the
    project."""
    return FOLDER / f"{name}.json"


def ledger(path: Path) -> dict[str, Cost]:
    """All entries by the seals of the outputs; none where there is no such file.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return {}
    return descriptions.read(path, descriptions.Costs, MEND).costs


def of(root: Path, name: str, seal: str) -> Cost | None:
    """What the output with this seal cost; None where nobody noted it."""
    return ledger(root / place(name)).get(seal)


def joined(names: Iterable[str]) -> str:
    """Each name once, in the order in which they come."""
    return APART.join(dict.fromkeys(part for name in names for part in name.split(APART) if part))


def part(cost: Cost, share: float) -> dict[str, Any]:
    """What an entry says of experts or a generator that its work used, of which it used this share of the networks."""
    kept = {*Spent.model_fields}
    return cost.model_dump(mode="json", exclude_unset=True, include=kept) | ({"share": share} if share < 1 else {})


def note(name: str, seal: str, cost: dict[str, Any], commit: str | None = None) -> None:
    """Note what the output with this seal cost, and at which commit it was made, unless that is known."""
    known, cost = ledger(place(name)), cost | ({"commit": commit} if commit else {})
    if seal not in known:
        entries = {key: entry.model_dump(mode="json", exclude_unset=True) for key, entry in known.items()}
        artifacts.write_sealed(place(name), {"costs": entries | {seal: cost}})
