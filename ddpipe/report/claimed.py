"""data/published/claims.yaml: the survey's claims as its file says them, and the methods that they name. No pandas."""

from collections.abc import Mapping
from pathlib import Path

from ddpipe.errors import UserError
from ddpipe.files.yaml import read_yaml
from ddpipe.settings.claims import Cells, Claim
from ddpipe.settings.reading import validate


def read(folder: Path) -> dict[str, Claim]:
    """The claims of `folder`/claims.yaml by name; none without the file.

    Raises:
        UserError: for the first mistake in it, with its key.
    """
    path = folder / "claims.yaml"
    if not path.exists():
        return {}
    said = read_yaml(path)
    if not isinstance(said, dict):
        raise UserError(f"{path} holds no claims by name; mend it or restore it from git")
    try:
        return validate(dict[str, Claim], said, "")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def named(known: Mapping[str, Claim]) -> set[str]:
    """Every method that a claim names."""
    found: set[str] = set()
    for claim in known.values():
        test = claim.test
        parts = [claim.published, claim.ours, *(part for _, part in test if isinstance(part, Cells))]
        found.update(*(cells.methods or () for cells in parts))
        found.update(*getattr(test, "pairs", ()))
    return found
