"""New entries of params.yaml: the project as it would be with them, and the file with them in it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ddpipe import config, settings
from ddpipe.checks.project import problems
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.files.artifacts import rewrite
from ddpipe.files.insert import insert
from ddpipe.files.yaml import flow
from ddpipe.rows import completed
from ddpipe.settings.reading import validate

Entries = dict[str, dict[str, Any]]  # block of params.yaml -> its new entries
BLOCKS = ("own", "experts", "generators", "protocols", "methods", "grid", "evaluations", "reports")


class Growing:
    """A project and what is to be added to it: later entries build on the earlier ones, and nothing is written yet."""

    def __init__(self, project: Config):
        self.before = self.config = project
        self.added: Entries = {}

    def put(self, more: Entries) -> None:
        if not any(more.values()):
            return
        found = {block: self.added.get(block, {}) | more.get(block, {}) for block in BLOCKS}
        self.added = {block: entries for block, entries in found.items() if entries}
        raw, old = self.raw, self.config
        params = validate(settings.Params, raw | {"grid": {}, "evaluations": {}}, "")
        grown = replace(old, params=params, files=old.files | {"params.yaml": raw})
        rows = {key: completed(grown, f"grid.{key}", said) for key, said in more.get("grid", {}).items()}
        further = validate(dict[str, settings.Evaluation], more.get("evaluations", {}), "evaluations")
        self.config = replace(grown, rows=old.rows | rows, evaluations=old.evaluations | further)

    @property
    def raw(self) -> dict:
        """What params.yaml would say."""
        said = self.before.files["params.yaml"]
        return said | {block: (said.get(block) or {}) | more for block, more in self.added.items()}

    def write(self) -> None:
        """Put the entries into params.yaml, whose other bytes stay, and its permissions.

        Raises:
            UserError: `ddpipe check` would refuse the result, or the file cannot be extended or written; it stays.
        """
        root: Path = self.before.root
        path = (root / "params.yaml").resolve()
        before, expected = path.read_bytes().decode(), self.raw  # with its own line ends
        try:
            after = insert(before, self.added)
            extensible = YAML(typ="safe").load(after) == expected
        except YAMLError:
            extensible = False
        if not extensible:
            entries = "; ".join(f"{block}: {flow(more)}" for block, more in self.added.items())
            raise UserError(
                f"params.yaml: is written in a way that cannot be extended here; write these into it: {entries}"
            )
        found = problems(replace(config.load(root, expected), seen=self.config.seen))
        known = set(problems(self.before) if found else ())
        if new := [sentence for sentence in found if sentence not in known]:
            raise UserError(f"{new[0]} (with what would be added; nothing was written)")
        if path.read_bytes() != before.encode():
            raise UserError("params.yaml: has changed meanwhile; run the same command again")
        rewrite(path, after.encode())
