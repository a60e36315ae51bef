"""What `ddpipe methods` and `ddpipe explain` print: composed from params.yaml and the recipes alone, without torch."""

import re
from collections import Counter
from functools import reduce

from ddpipe import settings
from ddpipe.config import Config, results_of
from ddpipe.errors import UserError
from ddpipe.mappings import leaves, merge
from ddpipe.pipeline import results as measured
from ddpipe.planning.shapes import data_of
from ddpipe.planning.terminal import WIDTH, table, wrapped
from ddpipe.publication.telling import Publication
from ddpipe.settings.names import TRAINED
from ddpipe.settings.part import Synthetic, program
from ddpipe.settings.protocol import told
from ddpipe.settings.reading import validate
from ddpipe.settings.recipe import BY_IPC


def methods(config: Config) -> str:
    """A table of the methods of params.yaml: parts, protocol, rows, and the paper or what params.yaml changes."""
    cells = Counter(row.method for row in config.rows.values())
    lines = []
    for method, change in config.params.methods.items():
        recipe = config.recipe(config.base(method))
        usual = recipe.cells.get(config.origin(method).get("cells", ""), {})  # the method's own, where it has
        layers = [recipe.parts, {key: value for key, value in usual.items() if key != BY_IPC}, config.changes(method)]
        parts = validate(settings.Cell, reduce(merge, layers), f"params.yaml:methods.{method}")
        source = flow(change) if change else short(recipe.paper)
        lines.append((method, *parts.composition(), recipe.protocol, str(cells[method]), source))
    heading = ("METHOD", "OBJECTIVE", "LEARNED", "STUDENTS", "PROTOCOL", "ROWS", "SOURCE")
    return "\n".join(table(lines, heading))


def short(paper: str) -> str:
    """The first author and the year of a citation; all of it where it names no year."""
    year = re.search(r"\b(?:19|20)\d\d\b(?!\.)", paper)  # a point behind it: a number of arXiv
    return f"{re.split(', | and ', paper)[0]} {year[0]}" if year else paper


def flow(change: dict) -> str:
    """What params.yaml says about a method, on one line."""
    return ", ".join(f"{'.'.join(path)}: {value}" for path, value in leaves(change) if path) or "none"


def cell(config: Config, name: str) -> str:
    """Everything about one cell: identity, each number with its source, files, commands, results, doubts and notes."""
    row, resolved = config.row(name), config.resolved(name)
    recipe, overrides = config.recipe(row.recipe), config.overrides(name)
    shown = f"{row.method} on {row.dataset}, {row.ipc} images per class"
    if row.ipc == "all":
        whole = "all images", "as many examples as the data, not a method of images per class"
        shown = whole[resolved.kind != "selection"]
    blocks = [
        (
            f"{name}: {shown}",
            [recipe.paper, *([recipe.code] if recipe.code else []), f"params.yaml changes: {flow(overrides)}"],
        ),
        ("row", [f"{key} = {value}" for key, value in row if value is not None]),
        ("settings", numbers(resolved.model_dump(), config.origins(name))),
    ]
    for network in dict.fromkeys([row.student, row.network]):
        values = numbers(*parts_of(config.network(network), config, "networks", network))
        blocks.append((f"network {network}", values))
    kind, key = row.upstream
    if kind in TRAINED:
        values = numbers(*parts_of(getattr(config.params, kind)[key], config, kind, key))
        blocks.append((f"{TRAINED[kind]} {key}", values))
    further = {key: entry for key, entry in config.evaluations.items() if entry.cell == name}
    for protocol in dict.fromkeys([row.protocol, *(entry.protocol for entry in further.values())]):
        blocks.append((f"protocol {protocol} on {row.dataset}", protocol_numbers(config, protocol, row.dataset)))
    blocks += [
        *([("learned apart", apart)] if (apart := beside_the_set(config, row, resolved)) else []),
        *([("hints beside the set", beside)] if (beside := hints(resolved)) else []),
        ("parts", mathematics(resolved)),
        ("commands", commands(name, [*(f"further@{key}" for key in further), *courses(config, name)])),
        ("results", results(config, name)),
        *([("unverified", doubts)] if (doubts := unverified(recipe, row)) else []),
        ("notes", list(recipe.notes) or ["none"]),
    ]
    text = []
    for head, lines in blocks:
        text += [*wrapped(head, 0), *(part for line in lines for part in wrapped(line)), ""]
    return "\n".join(text)[:-1]


def beside_the_set(config: Config, row: settings.Row, resolved: settings.Cell) -> list[str]:
    """How many numbers are learned beside the set that are no part of it once it is finished, where images tell."""
    synthetic = resolved.parts().get("synthetic")
    try:
        known = data_of(config, row.data) if isinstance(synthetic, Synthetic) else None
    except UserError:
        return []
    if known is None or not isinstance(synthetic, Synthetic) or not (apart := synthetic.apart(known.shape)):
        return []
    return [f"{apart} numbers of synthetic {synthetic.word!r}, of no budget: the set is complete without them"]


def hints(resolved: settings.Cell) -> list[str]:
    """What users of the finished set have to know, and protocols may need: name and shape."""
    said = {name: " (not always)" if name.endswith("?") else "" for name in resolved.hints}
    return [f"{name.rstrip('?')}: {told(shape)}{said[name]}" for name, shape in resolved.hints.items()]


def unverified(recipe: settings.Recipe, row: settings.Row) -> list[str]:
    """What nobody published of the numbers of a row, and where they were taken from."""
    said = recipe.doubts(row.cell)
    taken, known = recipe.taken(row.cell, row.ipc), ", ".join(map(str, recipe.told_apart(row.cell)))
    if taken in (None, row.ipc):
        return said
    return [*said, f"IPC {row.ipc}: no numbers of its own; those of IPC {taken}, the nearest by ratio of {known}."]


def parts_of(
    value: settings.Settings, config: Config, table: str, name: str
) -> tuple[dict, dict[tuple[str, ...], str]]:
    """An entry of params.yaml as a mapping, and where it states which number."""
    stated = config.files["params.yaml"][table][name]
    return value.model_dump(), {path: f"params.yaml:{table}.{name}" for path, _ in leaves(stated)}


def protocol_numbers(config: Config, name: str, dataset: str) -> list[str]:
    values, origins = parts_of(config.protocol(name, dataset), config, "protocols", name)
    exception = config.params.protocols[name].exceptions.get(dataset, {})
    changed = {path: f"params.yaml:protocols.{name}.exceptions.{dataset}" for path, _ in leaves(exception)}
    return numbers({key: value for key, value in values.items() if key != "exceptions"}, origins | changed)


def numbers(values: dict, origins: dict[tuple[str, ...], str]) -> list[str]:
    """Of each number its name, its value, and the file that states it; "default": its class does."""
    lines = [(f"{'.'.join(path)} = {value}", origins.get(path, "default")) for path, value in leaves(values)]
    return table(lines, width=WIDTH - 2)


def mathematics(resolved: settings.Cell) -> list[str]:
    """Of each part its name, the file with its mathematics and where it was published."""
    lines = []
    for key, part in resolved.parts().items():
        path = program(part).replace(".", "/") + ".py"
        lines.append(f"{key} = {part.word}  {path}  {part.reference}")
    return lines


def courses(config: Config, name: str) -> list[str]:
    """The stage that looks at the cell while it is distilled, if there is one."""
    return [f"course@{name}"] if name in config.courses else []


def commands(name: str, further: list[str]) -> list[str]:
    return [
        f"dvc repro evaluate@{name}  # with everything it needs",
        *(f"dvc repro {stage}" for stage in further),
        f"dvc repro --single-item distill@{name}  # this stage alone",
        f"ddpipe plan {name}  # what would run",
        f"ddpipe export {name} OUT  # the set as PNGs and an npz",
    ]


def results(config: Config, name: str) -> list[str]:
    """Where the set and its results lie, with the accuracy of those that are there, and what each is worth, or would
    be."""
    lines, publication = [f"data/distilled/{name}", f"data/costs/{name}.json"], Publication(config)
    for key in results_of(config, config.row(name).dataset):
        if key.cell == name:
            found = measured.read(config, key)
            spread = f" +- {found.std:.1f}" if found and found.n > 1 else ""  # of one accuracy nobody knows any
            shown = f"{found.mean:.1f}{spread} %, n = {found.n}" if found else "not measured yet"
            if found and found.balanced is not None:
                shown += f", balanced over the classes {found.balanced:.1f} %"
            told = publication.told(key, found)
            worth = f"{'' if found else 'would be '}{told.state.shape} {told.state}"
            told_in_full = f"{worth}: {', '.join(told.reasons)}" if told.reasons else worth
            lines.append(f"{config.path(key).relative_to(config.root)}  {shown}")
            lines.append(f"  {told_in_full}")
    return lines
