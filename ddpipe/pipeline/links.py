"""Folders of outputs that are links out of the project: DVC refuses them, but only after the stage ran to its end.

DVC writes a .gitignore beside every output that it caches, and where that would lie outside the git repository it
fails. Which outputs it caches, dvc.yaml says. Without git, and without DVC, nothing speaks against such a link.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from ddpipe.config import Config, read_yaml
from ddpipe.errors import UserError


def refuse() -> None:
    """At the start of a stage that DVC runs, in its project: UserError where DVC would refuse what it writes."""
    if address := os.environ.get("DVC_STAGE"):
        for sentence in refused(Path(), address.rpartition(":")[2].partition("@")[0]):
            raise UserError(sentence)


def links(config: Config) -> Iterator[str]:
    """One sentence a link that makes some stage fail."""
    yield from refused(config.root)


def refused(root: Path, stage: str | None = None) -> Iterator[str]:
    """One sentence an output of `stage` (None: of any) that lies behind a link out of the git repository."""
    root = root.resolve()
    repository = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    if repository is None:
        return
    for folder in cached(read_yaml(root / "dvc.yaml"), stage):
        for link in (*reversed(folder.parents), folder):
            target = (root / link).resolve()
            if not target.is_relative_to(repository):
                back = f"cp -R {quote(str(target))} {link}" if target.is_dir() else f"mkdir {link}"
                yield (
                    f"{link}: is a link to {target}, outside the project, where DVC refuses outputs once their work is "
                    f"done; replace it (`rm {link} && {back}`), and keep the outputs' files on another disk, if you "
                    "must, by `dvc cache dir --local FOLDER` and `dvc config --local cache.type symlink`"
                )
                break


def cached(content: Any, stage: str | None) -> Iterator[Path]:
    """The folders in which `stage` (None: any) of a dvc.yaml has outputs that DVC caches, up to the first `${...}`."""
    for name, entry in mapping(mapping(content).get("stages")).items():
        body = mapping(mapping(entry).get("do", entry))
        for out in (out for kind in ("outs", "metrics", "plots") for out in body.get(kind) or ()):
            path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
            if stage in (None, name) and mapping(options).get("cache", True):
                yield Path(str(path).partition("${")[0] + "_").parent


def mapping(value: Any) -> dict[str, Any]:
    """`value`; nothing where it is of another shape, of which others speak."""
    return value if isinstance(value, dict) else {}
