"""`ddpipe add`: a cell of the user's, complete: its row, its rivals under the same protocol, their buffers, the report.

All entries go to params.yaml, together or not at all, and only where `ddpipe check` finds no new mistake.
"""

from functools import reduce
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ddpipe import config, settings
from ddpipe.checks.project import problems
from ddpipe.config import Config, resolve
from ddpipe.errors import UserError
from ddpipe.files.artifacts import write_text
from ddpipe.files.insert import insert
from ddpipe.files.yaml import flow, unfit
from ddpipe.mappings import merge
from ddpipe.rows import Draft, Numbers, draft, known

Additions = dict[str, dict[str, Any]]  # block of params.yaml -> its new entries
BLOCKS = ("methods", "experts", "grid", "evaluations", "reports")


def add(root: Path, method: str, dataset: str, ipc: int | str, given: Numbers, changes: list[str]) -> str:
    """Write into params.yaml what a cell of `method` on `dataset` needs; what was written, for people.

    Args:
        given: fields of the row that shall not be as usual.
        changes: numbers of the method, each as `key=value`.

    Raises:
        UserError: a name is unknown, the cell exists, or `ddpipe check` would refuse the result; nothing is written.
    """
    project = config.load(root)
    path = (root / "params.yaml").resolve()
    before = path.read_text(encoding="utf-8")
    known("method", method, project.params.methods)
    methods, method = own_method(project, method, dataset, changes)
    with_method = config.load(root, extended(project, methods))
    additions = together(methods, cell(with_method, method, dataset, ipc, given))
    expected = extended(project, additions)
    try:
        after = insert(before, additions)
        extensible = YAML(typ="safe").load(after) == expected
    except YAMLError:
        extensible = False
    if not extensible:
        entries = "; ".join(f"{block}: {flow(more)}" for block, more in additions.items() if more)
        raise UserError(
            f"params.yaml: is written in a way that cannot be extended here; write these into it: {entries}"
        )
    known_already = set(problems(project))
    if new := [sentence for sentence in problems(config.load(root, expected)) if sentence not in known_already]:
        raise UserError(f"{new[0]} (with what would be added; nothing was written)")
    if path.read_text(encoding="utf-8") != before:
        raise UserError("params.yaml: has changed meanwhile; run the same command again")
    write_text(path, after)
    written = [f"  {block}.{key}" for block, more in additions.items() for key in more]
    return "\n".join(["added to params.yaml:", *written, f"now run `dvc repro report@{dataset}`"])


def extended(project: Config, additions: Additions) -> dict:
    """What params.yaml would say."""
    raw = project.files["params.yaml"]
    return raw | {block: (raw.get(block) or {}) | more for block, more in additions.items() if more}


def together(*parts: Additions) -> Additions:
    found = {block: reduce(lambda a, b: a | b, (part.get(block, {}) for part in parts)) for block in BLOCKS}
    return {block: entries for block, entries in found.items() if entries}


def own_method(project: Config, method: str, dataset: str, changes: list[str]) -> tuple[Additions, str]:
    """The entry of `methods:` that `changes` make of `method`, and its name; nothing new without changes."""
    if not changes:
        return {}, method
    name, there = f"{method}-{dataset}", project.params.methods
    numbers = merge(project.changes(method), reduce(merge, map(number, changes)))
    entry = {"base": project.base(method)} | numbers
    if name in there and there[name] != entry:
        raise UserError(
            f"methods.{name}: exists with other numbers; change them there, or add a cell of it as it is: "
            f"`ddpipe add {name} {dataset}` without --set"
        )
    return {} if name in there else {"methods": {name: entry}}, name


def number(change: str) -> Numbers:
    """`a.b=1` as nested mappings."""
    key, equals, said = change.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise UserError(f"--set {change}: must be <key>=<value>, for example iterations=500")
    try:
        if strange := unfit(said):
            raise ValueError(strange)
        value = YAML(typ="safe").load(said)
    except (YAMLError, ValueError):
        raise UserError(f"--set {change}: what stands behind {key}= is no value of YAML; quote it") from None
    for name in reversed(keys):
        value = {name: value}
    return value


def cell(project: Config, method: str, dataset: str, ipc: int | str, given: Numbers) -> Additions:
    """A row and all that makes its report complete."""
    name = f"{method}-{dataset}-{ipc}"
    if name in project.rows:
        raise UserError(f"grid.{name}: exists already; `ddpipe explain {name}` shows it")
    own = draft(project, method, dataset, ipc, given)
    parts = [rows_of(own)]
    if resolve(project.layers_of(own.row)).kind == "distillation":
        parts += [rival(project, baseline, own.row) for baseline in baselines(project)]
    if dataset not in project.params.reports:
        parts.append({"reports": {dataset: {}}})
    return together(*parts)


def rows_of(made: Draft) -> Additions:
    return {"experts": made.experts, "grid": {made.row.name: made.fields}}


def baselines(project: Config) -> list[str]:
    """The published methods that choose real images, less the one that takes all."""
    parts = {name: project.recipes[name].parts for name in project.params.methods if name in project.recipes}
    return [name for name, said in parts.items() if said.get("kind") == "selection" and said.get("rule") != "whole"]


def rival(project: Config, method: str, row: settings.Row) -> Additions:
    """`method` at the row's size, measured as the row is: by a row, or by an evaluation of the row that there is."""
    given = {"data": row.data, "student": row.student, "network": row.network, "protocol": comparable(project, row)}
    name = f"{method}-{row.dataset}-{row.ipc}"
    if name not in project.rows:
        return rows_of(draft(project, method, row.dataset, row.ipc, given))
    there = project.rows[name]
    entry = {"cell": name, "dataset": there.dataset, "data": there.data, "network": row.network}
    entry["protocol"] = given["protocol"]
    key = settings.Evaluation.model_validate(entry).name
    same = (there.network, there.protocol) == (row.network, given["protocol"])
    return {} if same or key in project.evaluations else {"evaluations": {key: entry}}


def comparable(project: Config, row: settings.Row) -> str:
    """The row's protocol; if it wants a learned step size, which real images have not, one that is else the same."""
    protocols = project.params.protocols
    own = protocols[row.protocol]
    if takes_real(own):
        return row.protocol
    asked = {"epochs", "extra_epoch", "momentum", "weight_decay", "batch", "drop", "augment", "cutmix"}
    for name, other in protocols.items():
        if takes_real(other) and other.model_dump(include=asked) == own.model_dump(include=asked):
            return name
    return next((project.recipes[name].protocol for name in baselines(project)), row.protocol)


def takes_real(protocol: settings.Protocol) -> bool:
    """Whether sets of real images can be measured so: nothing was learned with them."""
    return protocol.refusal("", {}, "one-hot") is None
