"""Rows from what their writers know: method, dataset and images per class say the rest, as published rows do.

`ddpipe add` writes such rows; `ddpipe check` says what one that was written by hand lacks.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ddpipe.config import Config, resolve
from ddpipe.errors import UserError
from ddpipe.files.yaml import flow
from ddpipe.settings import Cell, Row, Sizes
from ddpipe.settings.reading import did_you_mean, validate
from ddpipe.variants import usual_cell, usual_data, usual_protocol, usual_student

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Draft:
    """A row, and what it needs of each block of `names.TRAINED` where params.yaml has none like it."""

    row: Row
    trained: dict[str, dict[str, Numbers]] = field(default_factory=dict)


def draft(
    config: Config, method: str, dataset: str, ipc: int | str, given: Numbers, free: Collection[str] = ()
) -> Draft:
    """The row of `method` (an entry of `methods:`) on `dataset`, with the fields that are `given`.

    Args:
        free: buffers of experts that nothing was trained for yet: they may become longer.

    Raises:
        UserError: a name is not known, or there is nothing to take a network or a buffer's numbers from.
    """
    row = guess(config, method, dataset, ipc, given)
    return Draft(row) if "needs" in given else equipped(config, row, free)


def guess(config: Config, method: str, dataset: str, ipc: int | str, given: Numbers) -> Row:
    """The row, as if it needed nothing but its data."""
    known("method", method, config.params.methods)
    recipe_name = config.base(method)
    config.recipe(recipe_name)
    data = given.get("data") or usual_data(config, method, dataset)
    for name in (dataset, data):
        if name not in config.params.datasets:
            raise UserError(f"datasets.{name}: no such entry in params.yaml{mend(config, name, dataset)}")
    fields: Numbers = {"method": method, "dataset": dataset, "data": data, "ipc": ipc}
    fields["network"] = given.get("network") or usual_network(config, recipe_name, dataset, data)
    fields["protocol"] = usual_protocol(config, method, dataset)
    fields |= implied(config, fields | given) | {"needs": f"data/prepared/{data}"} | given
    for key in ("network", "student"):
        known(key, fields[key], config.params.networks)
    known("protocol", fields["protocol"], config.params.protocols)
    return validate(Row, fields, f"grid.{method}-{dataset}-{ipc}")


def equipped(config: Config, row: Row, free: Collection[str] = ()) -> Draft:
    """The row with the buffer or the generator that it needs, which is new where params.yaml has none like it."""
    try:
        chosen = resolve(config.layers_of(row))
    except UserError:
        return Draft(row)  # `ddpipe check` says it
    if chosen.generated:
        kind, (name, found) = "generators", generator(config, row, chosen)
    elif needed := buffer(config, row, chosen, free):
        kind, name, found = "experts", needed[0], {"experts": dict([needed])}
    else:
        return Draft(row)
    there = config.files["params.yaml"]
    new = {
        block: {key: numbers for key, numbers in entries.items() if (there.get(block) or {}).get(key) != numbers}
        for block, entries in found.items()
    }
    return Draft(
        row.model_copy(update={"needs": f"data/{kind}/{name}"}), {block: more for block, more in new.items() if more}
    )


def generator(config: Config, row: Row, chosen: Cell) -> tuple[str, dict[str, dict[str, Numbers]]]:
    """Name of the generator that `row` needs, with its numbers and those of the buffer that it is inverted by.

    They are those of another row's, on images of its size if there is one, but for the sizes, which are the row's.
    """
    table, size, said = config.params.generators, sides(config), config.files["params.yaml"]
    others = [other for other in config.rows.values() if other.generator in table]
    if not others:
        raise UserError(
            f"generators: {row.method} needs a generator, and no row has one to take the numbers from; write one of "
            f"data {row.data!r} there, and a row that needs it: data/generators/<generator>"
        )
    pattern = str(min(others, key=lambda other: size.get(other.data) != size.get(row.data)).generator)
    own = chosen.model_dump()["synthetic"]
    wanted = {key: own[key] for key in Sizes.model_fields}
    name = row.data
    if name in table and any(getattr(table[name], key) != value for key, value in wanted.items()):
        name = "-".join(map(str, [row.data, *wanted.values()]))
    model = table[pattern].buffer
    buffers = [key for key, experts in config.params.experts.items() if experts.data == row.data]
    found = {}
    if not buffers:
        buffers = [row.data]
        found["experts"] = {row.data: said["experts"][model] | {"data": row.data, "network": row.student}}
    numbers = said["generators"][name if name in table else pattern]
    buffer = numbers["buffer"] if name in table else buffers[0]
    return name, found | {"generators": {name: numbers | wanted | {"data": row.data, "buffer": buffer}}}


def mend(config: Config, name: str, dataset: str) -> str:
    """What to do about the dataset `name` that params.yaml lacks; where it has `dataset`, a form of that is meant."""
    near, said = did_you_mean(name, list(config.params.datasets)), config.files["params.yaml"]
    there = said["datasets"] | (said.get("own") or {})
    if dataset in there:
        form = {key: said for key, said in there[dataset].items() if key not in ("standardise", "mean", "std")}
        whitened = flow(form | {"standardise": "none", "whitening": {}})
        return f"{near}; for another form of {dataset} write it there, for example whitened: `{name}: {whitened}`"
    own = f"`{name}: {{source: folder, path: data/raw/{name}, resolution: 32, flip: true}}`"
    return (
        f"{near}; for images of your own write under own:, for example, {own}, or let `ddpipe add` write it: --images "
        f"data/raw/{name}"
    )


def known(what: str, name: str, table: Iterable[str]) -> None:
    if name not in table:
        raise UserError(f"no {what} {name!r}{did_you_mean(name, list(table))}")


def usual_network(config: Config, recipe: str, dataset: str, data: str) -> str:
    """The network of most rows on this data, or on this dataset, or of the recipe's rows on images of about this size,
    or of all of them; variants do not count.
    """
    sizes = sides(config)
    rows = [row for row in config.rows.values() if not row.variant]
    own = [row for row in rows if row.recipe == recipe]
    nearest = sorted(
        {size for row in own if data in sizes and (size := sizes.get(row.data))},
        key=lambda size: (abs(math.log(size / sizes[data])), -size),
    )
    alike = [row for row in own if nearest and sizes.get(row.data) == nearest[0]]
    on_data, on_dataset = [r for r in rows if r.data == data], [r for r in rows if r.dataset == dataset]
    for group in (on_data, on_dataset, alike, own):
        if group:
            return Counter(row.network for row in group).most_common(1)[0][0]
    raise UserError(f"network: recipe {recipe!r} has no row to take it from; name one of networks:")


def sides(config: Config) -> dict[str, int]:
    """The side of the images of each dataset whose size is known, in pixels."""
    from ddpipe.checks.data import size

    known = {name: chosen.resolution for name, chosen in config.params.datasets.items() if chosen.resolution}
    return known | {name: found.shape.resolution for name in config.params.datasets if (found := size(config, name))}


def buffer(config: Config, row: Row, chosen: Cell, free: Collection[str] = ()) -> tuple[str, Numbers] | None:
    """Name and numbers of the expert buffer that `row` needs; None where it needs none.

    The numbers are those of another row's, of its recipe and on images of its size if there is one: as long as its
    students go, and as many as it has sets.
    """
    epochs = chosen.epochs or 0
    if not epochs and not chosen.embedded:
        return None
    experts = config.params.experts
    alike = [
        other
        for other in config.rows.values()
        if other.buffer in experts and (experts[other.buffer].keep == "all") == bool(epochs)
    ]
    usual, size = (row.protocol, config.recipe(row.recipe).protocol), sides(config)
    alike.sort(
        key=lambda o: (
            o.recipe != row.recipe,
            o.method != row.method,
            o.protocol not in usual,
            size.get(o.data) != size.get(row.data),
        )
    )
    if not alike:
        raise UserError(
            f"experts: {row.method} needs a buffer of networks, and no row has one to take the numbers from; "
            f"write one of data {row.data!r} and network {row.student!r} there, and a row that needs it: "
            "data/experts/<buffer>"
        )
    pattern = str(alike[0].buffer)
    name = (
        row.data + pattern.removeprefix(alike[0].data) if pattern.startswith(alike[0].data) else f"{row.data}-{pattern}"
    )
    numbers = config.files["params.yaml"]["experts"][pattern] | {"data": row.data, "network": row.student}
    if epochs:
        numbers |= {"keep": "all", "epochs": epochs}
    else:
        numbers["networks"] = max(numbers["networks"], chosen.sets)
    if name in experts and experts[name].network != row.student:
        name = f"{name}-{row.student}"
    if (there := experts.get(name)) is not None:
        numbers = dict(config.files["params.yaml"]["experts"][name])
        for key, least in (("epochs", epochs), ("networks", 0 if epochs else chosen.sets)):
            if getattr(there, key) < least and name in free:
                numbers[key] = least
            elif getattr(there, key) < least:
                raise UserError(
                    f"experts.{name}.{key}: {getattr(there, key)}, but {row.name} needs {least}; set it to {least}"
                )
    return name, numbers


def completed(config: Config, where: str, said: Numbers) -> Row:
    """The row at `where` in the files, which says what dvc.yaml's templates read: its key tells the rest.

    Raises:
        UserError: it says less; the sentence says what to write.
    """
    key = where.rpartition(".")[2]
    meant = meaning(config, key)
    if not (meant and said.keys() >= set(Row.templated)):
        raise UserError(f"{where}: {lacking(config, key, said)}")
    row = validate(Row, implied(config, meant | said) | said, where)
    if row.name != key:
        raise UserError(f"{where}: its name is {row.form}; rename it to {row.name!r} or mend what it says")
    return row


def implied(config: Config, told: Numbers) -> Numbers:
    """The fields that follow from method, dataset, images per class and network."""
    named = {key: told[key] for key in ("method", "ipc", "variant") if key in told}
    cell = {} if "cell" in told else {"cell": usual_cell(config, told["method"], told["dataset"], told["ipc"])}
    recipe = config.base(told["method"])
    return named | {"recipe": recipe, "student": usual_student(config, recipe, told["network"])} | cell


def short(config: Config, row: Row) -> Numbers:
    """What a file says of the row: what dvc.yaml's templates read, and what is not as its key tells it."""
    fields = row.model_dump(mode="json")
    told: Numbers = {}
    with suppress(UserError):
        told = implied(config, {key: value for key, value in fields.items() if key != "cell"})
    return {key: value for key, value in fields.items() if key in Row.templated or told.get(key) != value}


def lacking(config: Config, key: str, said: Numbers) -> str:
    """What the row at `key` lacks, and what to write there: the end of a sentence."""
    meant = meaning(config, key)
    named: Numbers = {name: said[name] for name in ("method", "dataset", "ipc") if name in said}
    missing = [name for name in Row.model_fields if name not in said and name in Row.templated]
    told, found = f"lacks {', '.join(missing)}; " if missing else "", meant | named
    if len(found) < 3 or not missing:
        return f"{told}its key must be {Row.form} with entries of methods: and datasets:, or `ddpipe add` writes it"
    rest = {name: value for name, value in (meant | said).items() if name not in ("method", "dataset", "ipc")}
    try:
        made = draft(config, found["method"], found["dataset"], found["ipc"], rest)
    except UserError as error:
        return f"{told}{error}"
    written = flow({name: getattr(made.row, name) for name in missing})[1:-1]
    buffers = "".join(
        f", and under {block}: `{name}: {flow(numbers)}`"
        for block, entries in made.trained.items()
        for name, numbers in entries.items()
    )
    options = "".join(f" --{key} {said[key]}" for key in ("network", "student", "protocol", "data") if key in said)
    anew = (
        f", or remove the row and run `ddpipe add {found['method']} {found['dataset']} --ipc {found['ipc']}{options}`"
    )
    return f"{told}write `{written}` there{buffers}{'' if 'variant' in meant else anew}"


def meaning(config: Config, key: str) -> Numbers:
    """The fields of a row that its key tells; none where it names no method and dataset of params.yaml."""
    for method in config.params.methods:
        for dataset in config.params.datasets:
            ipc, _, variant = key.removeprefix(f"{method}-{dataset}-").partition("-")
            if key.startswith(f"{method}-{dataset}-") and (images := number(ipc)) is not None:
                told: Numbers = {"method": method, "dataset": dataset, "ipc": images}
                return told | ({"variant": variant} if variant else {})
    return {}


def number(word: str) -> int | str | None:
    """Images per class as a key says them."""
    return int(word) if word.isdecimal() else word if word == "all" else None
