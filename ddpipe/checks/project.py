"""Every mistake in params.yaml, the recipes and the rows, found before anything runs. Without torch, in a second.

DVC's own messages for most of these are poor, and it deletes a stage's old output before it notices.
"""

from collections.abc import Callable, Iterator
from typing import Any

from ddpipe import settings
from ddpipe.checks.baselines import baselines
from ddpipe.checks.batches import batches
from ddpipe.checks.budget import budget
from ddpipe.checks.buffers import buffers
from ddpipe.checks.classes import classes
from ddpipe.checks.courses import courses
from ddpipe.checks.data import data
from ddpipe.checks.idle import idle
from ddpipe.checks.kernels import kernels
from ddpipe.checks.own import own
from ddpipe.checks.parts import parts
from ddpipe.checks.published import published
from ddpipe.checks.training import trainings
from ddpipe.config import Config, read_yaml, resolve
from ddpipe.distilled.bundle import lacking
from ddpipe.errors import UserError
from ddpipe.pipeline import record
from ddpipe.pipeline.links import links
from ddpipe.settings.generators import Sizes
from ddpipe.settings.names import TRAINED
from ddpipe.settings.reading import did_you_mean
from ddpipe.settings.recipe import EVERY
from ddpipe.variants import check_cells

RESERVED = ("size", "nfiles")  # DVC leaves parameters of these names out of the keys of its run cache
TABLES = range(1, 5)  # of the survey


def problems(config: Config) -> list[str]:
    """One sentence a mistake, each once; [] when everything can run."""
    found: dict[str, None] = {}
    for part in (
        names,
        protocols,
        experts,
        generators,
        recipes,
        rows,
        parts,
        buffers,
        evaluations,
        courses,
        reports,
        dvc_vars,
        links,
        own,
        data,
        batches,
        trainings,
        kernels,
        classes,
        budget,
        baselines,
        published,
        idle,
        dvc_files,
    ):
        found |= dict.fromkeys(part(config))
    return list(found)


def attempt(function: Callable[..., Any], *arguments: Any) -> Iterator[str]:
    """The sentence of the UserError that `function` raises, if it does."""
    try:
        function(*arguments)
    except UserError as error:
        yield str(error)


def known(word: str, table: dict[str, Any], key: str, what: str) -> Iterator[str]:
    """That `word`, which stands at `key`, is an entry of the table called `what`."""
    if word not in table:
        yield f"{key}: {word!r} is not under {what}:{did_you_mean(word, list(table))}"


def names(config: Config) -> Iterator[str]:
    """Keys that DVC overlooks."""
    for file, content in config.files.items():
        for path in paths(content):
            if path[-1] in RESERVED:
                yield f"{file}:{'.'.join(path)}: DVC misses changes of a parameter called {path[-1]!r}; rename it"


def paths(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of nested mappings, as its path."""
    for key, value in tree.items() if isinstance(tree, dict) else ():
        yield (*path, str(key))
        yield from paths(value, (*path, str(key)))


def protocols(config: Config) -> Iterator[str]:
    for name, protocol in config.params.protocols.items():
        if why := lacking(protocol):
            yield f"protocols.{name}.kind: {why}"
        for dataset in protocol.exceptions:
            yield from known(dataset, config.params.datasets, f"protocols.{name}.exceptions", "datasets")
            yield from attempt(config.protocol, name, dataset)
            if "exceptions" in protocol.exceptions[dataset]:
                yield f"protocols.{name}.exceptions.{dataset}.exceptions: an exception has none of its own; remove it"


def experts(config: Config) -> Iterator[str]:
    for name, buffer in config.params.experts.items():
        yield from known(buffer.data, config.params.datasets, f"experts.{name}.data", "datasets")
        yield from known(buffer.network, config.params.networks, f"experts.{name}.network", "networks")


def generators(config: Config) -> Iterator[str]:
    params = config.params
    for name, chosen in params.generators.items():
        yield from known(chosen.data, params.datasets, f"generators.{name}.data", "datasets")
        yield from known(chosen.buffer, params.experts, f"generators.{name}.buffer", "experts")
        if (buffer := params.experts.get(chosen.buffer)) and buffer.data != chosen.data:
            yield (
                f"generators.{name}.buffer: experts.{chosen.buffer} was trained on {buffer.data!r}, but the data are "
                f"{chosen.data!r}; name a buffer of these"
            )


def recipes(config: Config) -> Iterator[str]:
    """Every cell of every recipe, with rows or without, and every line of `methods:`."""
    for name, recipe in config.recipes.items():
        where = f"ddpipe/methods/{name}.yaml:{name}"
        yield from known(recipe.protocol, config.params.protocols, f"{where}.protocol", "protocols")
        for protocol in recipe.also:
            yield from known(protocol, config.params.protocols, f"{where}.also", "protocols")
        for table, protocol in recipe.tables.items():
            if table not in TABLES:
                yield f"{where}.tables.{table}: the survey's tables are {TABLES[0]} to {TABLES[-1]}; name one of them"
            yield from known(protocol, config.params.protocols, f"{where}.tables.{table}", "protocols")
        doubted = [*recipe.cells, EVERY, *(f"table{table}" for table in recipe.tables)]
        for key in recipe.unverified:
            yield from known(
                key,
                dict.fromkeys(doubted),
                f"{where}.unverified",
                f"{where}.cells, nor all, nor table<n> of {name}.tables",
            )
        if "default" not in recipe.cells:
            yield f"{where}.cells.default: this key is missing; add it, {{}} will do: data of your own use it"
        for cell in recipe.cells:
            for ipc in recipe.told_apart(cell) or [1]:
                layers = [("parts", recipe.parts), *recipe.layers(cell, ipc)]
                yield from attempt(resolve, [(f"{where}.{key}", numbers) for key, numbers in layers])
    for method in config.params.methods:
        yield from attempt(combination, config, method)


def combination(config: Config, method: str) -> None:
    check_cells(config, method)
    base = config.base(method)
    parts = (f"ddpipe/methods/{base}.yaml:{base}.parts", config.recipes[base].parts)
    resolve([parts, (f"params.yaml:methods.{method}", config.changes(method))])


def rows(config: Config) -> Iterator[str]:
    params = config.params
    for cell, row in config.rows.items():
        where = f"grid.{cell}"
        yield from known(row.dataset, params.datasets, f"{where}.dataset", "datasets")
        yield from known(row.data, params.datasets, f"{where}.data", "datasets")
        yield from known(row.student, params.networks, f"{where}.student", "networks")
        yield from known(row.network, params.networks, f"{where}.network", "networks")
        yield from known(row.protocol, params.protocols, f"{where}.protocol", "protocols")
        yield from needs(config, where, row)
        try:
            resolved = config.resolved(cell)
        except UserError as error:
            yield str(error)
            continue
        yield from pairing(config, where, row, resolved)


def needs(config: Config, where: str, row: settings.Row) -> Iterator[str]:
    """What a row needs: its own data, or a buffer of experts or a generator trained on it."""
    kind, key = row.upstream
    if kind in TRAINED:
        table = getattr(config.params, kind)
        yield from known(key, table, f"{where}.needs", kind)
        if key in table and table[key].data != row.data:
            yield (
                f"{where}.needs: {kind}.{key} was trained on {table[key].data!r}, but the row's data is "
                f"{row.data!r}; name a {TRAINED[kind]} of the row's data"
            )
    elif row.needs != f"data/prepared/{row.data}":
        yield f"{where}.needs: must be data/prepared/{row.data} or data/experts/<buffer>, not {row.needs!r}"


def pairing(config: Config, where: str, row: settings.Row, resolved: settings.Cell) -> Iterator[str]:
    """That the row names the inputs of its resolved parts."""
    if resolved.whole != (row.ipc == "all"):
        yield f"{where}.ipc: {row.ipc}, but {row.method} (of {config.sources(row)}) " + (
            "has as many images as the data: set it to all" if resolved.whole else "needs a number of images per class"
        )
    if resolved.generated and row.generator is None:
        told = f"{row.method} (of {config.sources(row)}) decodes by a generator"
        yield f"{where}.needs: {told}: name data/generators/<generator>"
    if resolved.kind == "selection":
        yield from chosen(config, where, row, resolved)
    elif resolved.generated and row.generator in config.params.generators:
        there, own = config.params.generators[row.generator], resolved.synthetic
        for key in Sizes.model_fields:
            if getattr(own, key) != getattr(there, key):
                told = f"{getattr(own, key)}, but generators.{row.generator} has {getattr(there, key)}; set it to that"
                yield f"methods.{row.method}.synthetic.{key}: {told} (for {where.removeprefix('grid.')})"


def chosen(config: Config, where: str, row: settings.Row, resolved: settings.Selection) -> Iterator[str]:
    """That a rule has what it chooses from, and chooses as many sets as there can be."""
    by, rule = config.sources(row), resolved.record
    if rule.whole and resolved.sets > 1:
        yield f"methods.{row.method} ({row.cell}): sets: {resolved.sets}, but all are the same images; set it to 1"
    buffer = config.params.experts.get(row.buffer or "")
    if not rule.embedded:
        return
    if row.buffer is None:
        told = f"rule {resolved.rule} (of {by}) chooses in the features of a network"
        yield f"{where}.needs: {told}: name data/experts/<buffer>"
    elif buffer and buffer.network != row.student:
        yield (
            f"{where}.student: {row.student!r}, but {row.needs} holds networks {buffer.network!r}; "
            "name a buffer of this network"
        )
    elif buffer and buffer.networks < resolved.sets:
        yield (
            f"experts.{row.buffer}.networks: {buffer.networks}, but {row.method} chooses {resolved.sets} sets, "
            f"each in the features of another network; set it to {resolved.sets} or more"
        )


def evaluations(config: Config) -> Iterator[str]:
    params = config.params
    for key, entry in config.evaluations.items():
        where = f"evaluations.{key}"
        yield from known(entry.network, params.networks, f"{where}.network", "networks")
        yield from known(entry.protocol, params.protocols, f"{where}.protocol", "protocols")
        yield from known(entry.cell, config.rows, f"{where}.cell", "grid")
        row = config.rows.get(entry.cell)
        if row is None:
            continue
        for field in ("dataset", "data"):
            if getattr(entry, field) != getattr(row, field):
                theirs, own = getattr(entry, field), getattr(row, field)
                yield f"{where}.{field}: {theirs!r}, but the cell's is {own!r}; use the cell's"
        if (entry.network, entry.protocol) == (row.network, row.protocol):
            told = f"the cell's own row, grid.{entry.cell}, already measures it"
            yield f"{where}: {told}; remove it or name another network or protocol"


def reports(config: Config) -> Iterator[str]:
    """A report without rows would make `dvc repro` fail; rows without a report would be shown nowhere."""
    shown = {row.dataset for row in config.rows.values()}
    if "survey" in shown | config.params.reports.keys():
        yield "reports.survey: reports/survey holds the survey's tables; give the rows' dataset another name"
    for dataset in config.params.reports:
        if dataset not in shown:
            yield f"reports.{dataset}: no row of the grid has this dataset; remove the line"
    for dataset in sorted(shown - config.params.reports.keys()):
        yield f"reports.{dataset}: this key is missing, though rows have this dataset; add `{dataset}: {{}}`"


def dvc_vars(config: Config) -> Iterator[str]:
    """That dvc.yaml takes the rows of every recipe: it cannot list files by a pattern."""
    content = read_yaml(config.root / "dvc.yaml")
    if not isinstance(content, dict):
        yield "dvc.yaml holds no stages; put it back, for example with `git checkout dvc.yaml`"
        return
    entries = content.get("vars") or []
    if not isinstance(entries, list) or not all(isinstance(entry, str | dict) for entry in entries):
        yield "dvc.yaml, vars: must be a list of the recipes, each as `- ddpipe/methods/<name>.yaml:grid`; mend it"
        return
    listed: dict[str, set[str]] = {}
    for entry in entries:
        if isinstance(entry, dict):  # variables of one's own
            continue
        file, _, keys = entry.partition(":")
        listed.setdefault(file, set()).update(keys.split(","))
    for file in sorted(listed.keys() - config.files.keys()):
        yield f"dvc.yaml, vars: {file} does not exist; remove the line"
    for file in sorted(config.files.keys() - {"params.yaml"}):
        there = [table for table in ("grid", "evaluations", "courses") if config.files[file].get(table)]
        if set(there) != listed.get(file, set()):
            mend = f"list it as `- {file}:{','.join(there)}`" if there else "remove its line"
            yield f"dvc.yaml, vars: {file} has {' and '.join(there) or 'no rows'}; {mend}"


def dvc_files(config: Config) -> Iterator[str]:
    """That DVC can read what it keeps; it says itself only that a validation failed."""
    if sentence := record.trouble(config.root):
        yield sentence
