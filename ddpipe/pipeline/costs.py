"""What finished outputs cost (seconds, memory, on which machine): data/costs/<name>.json, one ledger a stage.

Seconds differ from run to run. They lie in no output of a stage, so that they make nothing stale; git keeps them, so
that everybody's report shows them. An entry is found by the seal of the output that it is about, and is made once: the
same bytes made again, on whichever machine, leave it as it is, and with it the reports that show it.
"""

from pathlib import Path
from typing import Any

from ddpipe.files import artifacts
from ddpipe.pipeline import descriptions
from ddpipe.pipeline.descriptions import Cost

FOLDER = Path("data/costs")
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


def note(name: str, seal: str, cost: dict[str, Any]) -> None:
    """Note what the output with this seal cost, unless that is known."""
    known = ledger(place(name))
    if seal not in known:
        entries = {key: entry.model_dump(mode="json", exclude_unset=True) for key, entry in known.items()}
        artifacts.write_sealed(place(name), {"costs": entries | {seal: cost}})
