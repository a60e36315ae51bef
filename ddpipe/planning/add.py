"""`ddpipe add`: an experiment of the user's, complete: images, cells, rivals under the same protocol, buffers, report.

All entries go to params.yaml, together or not at all, and only where `ddpipe check` finds no new mistake.
"""

from dataclasses import dataclass, field
from functools import reduce

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ddpipe import settings
from ddpipe.checks.baselines import rules
from ddpipe.config import Config, resolve
from ddpipe.errors import UserError
from ddpipe.files.yaml import unfit
from ddpipe.mappings import merge
from ddpipe.planning import images
from ddpipe.planning.additions import Growing
from ddpipe.planning.rivals import alike, apart, further, rival, rows_of, suited
from ddpipe.rows import Numbers, equipped, guess, known
from ddpipe.settings.names import Name
from ddpipe.settings.reading import validate


@dataclass(frozen=True)
class Wish:
    """What the user asks for: every one of `methods` at every one of `ipcs`."""

    methods: list[str]
    dataset: str
    ipcs: list[int | str]
    row: Numbers = field(default_factory=dict)  # fields of the rows that shall not be as usual
    images: Numbers = field(default_factory=dict)  # fields of the entry of new images
    changes: list[str] = field(default_factory=list)  # numbers of the methods, each as `key=value`
    name: str = ""  # of the method that the changes make
    rivals: list[str] | None = None  # None: all


def add(project: Config, wish: Wish) -> Growing:
    """Write into params.yaml what the cells of `wish` need: what was added.

    Raises:
        UserError: a name is unknown, all is there already, or `ddpipe check` would refuse the result; nothing is
            written.
    """
    for method in wish.methods:
        known("method", method, project.params.methods)
    entry, project = images.new(project, wish.dataset, wish.images)
    growing = Growing(project)
    if entry:
        growing.put({"own": {wish.dataset: entry}})
    if "data" in wish.row:
        growing.config = images.look(growing.config, wish.row["data"])
    there = list(rules(project))
    for word in wish.rivals or ():
        known("rival", word, there)
    cells = []
    for method in wish.methods:
        name = own_method(growing, method, wish)
        cells += [cell(growing, name, wish.dataset, ipc, wish.row) for ipc in wish.ipcs]
    for row in cells:
        if resolve(growing.config.layers_of(row)).distils:
            for word in there if wish.rivals is None else wish.rivals:
                rival(growing, word, row)
    if not growing.added:
        raise UserError(f"grid.{cells[0].name}: exists already; `ddpipe explain {cells[0].name}` shows it")
    if wish.dataset not in project.params.reports:
        growing.put({"reports": {wish.dataset: {}}})
    growing.write()
    return growing


def own_method(growing: Growing, method: str, wish: Wish) -> str:
    """The name of the entry of `methods:` that the changes of `wish` make of `method`; itself without changes."""
    if not wish.changes:
        if wish.name:
            raise UserError(f"--as {wish.name}: names a method with numbers of its own; say them with --set")
        return method
    if wish.name and len(wish.methods) > 1:
        raise UserError(f"--as {wish.name}: is the name of one method; add the {len(wish.methods)} one by one")
    name = validate(Name, wish.name, "--as") if wish.name else f"{method}-{wish.dataset}"
    there, project = growing.config.params.methods, growing.config
    numbers = merge(project.changes(method), reduce(merge, map(number, wish.changes)))
    entry = {"base": project.base(method)} | project.origin(method) | numbers
    if name in there and there[name] != entry:
        raise UserError(
            f"methods.{name}: exists with other numbers; give these another name with --as, or add a cell of it as it "
            f"is: `ddpipe add {name} {wish.dataset}` without --set"
        )
    if name not in there:
        growing.put({"methods": {name: entry}})
    return name


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


def cell(growing: Growing, method: str, dataset: str, ipc: int | str, given: Numbers) -> settings.Row:
    """Add a row, or a further evaluation where the grid has this very set; what was asked for, as a row."""
    row = guess(growing.config, method, dataset, ipc, given)
    row = row.model_copy(update={"protocol": suited(growing, row.protocol, row)})
    project = growing.config
    chosen = row.recipe in rules(project) and "student" not in given  # which real images there are is not asked
    there = alike(project, method, dataset, ipc)
    for found in sorted(there, key=lambda found: found.student != row.student):
        if found.data == row.data and (chosen or found.student == row.student):
            asked = found.model_copy(update={key: getattr(row, key) for key in ("network", "protocol") if key in given})
            growing.put(further(project, found, asked.network, asked.protocol))
            return asked
    made = equipped(project, apart(project, row), growing.added.get("experts", ()))
    growing.put(rows_of(project, made))
    return made.row
