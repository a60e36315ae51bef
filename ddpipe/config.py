"""params.yaml and the recipes -> validated, frozen settings. Every error names the key.

A cell's settings are the recipe's `parts`, changed by its entry for the cell (which may tell images per class apart),
changed by the method's entry under `methods:` of params.yaml. `layers` says where each number comes from.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ddpipe import settings
from ddpipe.errors import UserError
from ddpipe.files.yaml import read_yaml
from ddpipe.mappings import leaves, merge
from ddpipe.settings.names import Name
from ddpipe.settings.reading import did_you_mean, shorten, validate
from ddpipe.settings.shapes import Seen

ORIGINS = ("base", "cells")  # keys of an entry of `methods:` that are no numbers
METHODS = Path(__file__).resolve().parent / "methods"  # the recipes; an installed package carries them


def resolve(layers: list[tuple[str, dict]]) -> settings.Cell:
    """The settings that (where, numbers) layers make together, later ones winning; a mistake is blamed on its layer."""
    resolved: Any = {}
    for where, numbers in layers:
        resolved = merge(resolved, numbers)
        try:
            found = validate(settings.Cell, resolved, "")
        except UserError as error:
            raise UserError(f"{where}.{error}") from None
    return found


@dataclass(frozen=True)
class ResultKey:
    """One evaluation: which cell on which network under which protocol."""

    cell: str
    network: str
    protocol: str

    @property
    def name(self) -> str:
        """What its result, its costs and its checkpoints are called."""
        return f"{self.cell}.{self.network}.{self.protocol}"


@dataclass(frozen=True)
class Config:
    root: Path
    params: settings.Params
    recipes: dict[str, settings.Recipe]
    rows: dict[str, settings.Row]
    evaluations: dict[str, settings.Evaluation]
    files: dict[str, dict]  # what each file says, by its path in the project
    courses: dict[str, settings.Course] = field(default_factory=dict)
    seen: Mapping[str, Seen] = field(default_factory=dict)  # own images that were counted before they are prepared

    def row(self, cell: str) -> settings.Row:
        if cell not in self.rows:
            raise UserError(f"no cell {cell!r} in the grid{did_you_mean(cell, list(self.rows))}")
        return self.rows[cell]

    def overrides(self, cell: str) -> dict:
        """What params.yaml says about the cell's method, less its `base`; {} means as in the recipe."""
        return self.changes(self.row(cell).method)

    def base(self, method: str) -> str:
        """The recipe of `method`, an entry of `methods:`: the one that it names, or that of its own name."""
        base = self.params.methods[method].get("base", method)
        if base not in self.recipes:
            near = did_you_mean(base, list(self.recipes))
            if base != method:
                raise UserError(f"methods.{method}.base: no recipe ddpipe/methods/{base}.yaml{near}")
            raise UserError(
                f"methods.{method}: no recipe ddpipe/methods/{method}.yaml; write it, or name the recipe that is "
                f"changed, as in `{method}: {{base: dm}}`{near}"
            )
        return base

    def changes(self, method: str) -> dict:
        """What params.yaml says about `method`, less where its numbers begin."""
        return {key: value for key, value in self.params.methods.get(method, {}).items() if key not in ORIGINS}

    def origin(self, method: str) -> dict[str, str]:
        """Where the numbers of `method` begin: the recipe `base`, and the word in which its own `cells` end, if any."""
        return {key: value for key, value in self.params.methods[method].items() if key in ORIGINS}

    def layers(self, cell: str) -> list[tuple[str, dict]]:
        """(where, numbers) pairs; later ones win."""
        return self.layers_of(self.row(cell))

    def layers_of(self, row: settings.Row) -> list[tuple[str, dict]]:
        """The layers of a row, whether the grid has it or not."""
        cell = row.name
        if row.method not in self.params.methods:
            known = did_you_mean(row.method, list(self.params.methods))
            raise UserError(f"methods.{row.method}: cell {cell} needs this line in params.yaml{known}")
        base = self.base(row.method)
        if row.recipe != base:
            raise UserError(
                f"grid.{cell}.recipe: {row.recipe!r}, but the base of methods.{row.method} is {base!r}; make them one"
            )
        recipe = self.recipe(row.recipe)
        if row.cell not in recipe.cells:
            known = did_you_mean(row.cell, list(recipe.cells))
            raise UserError(f"grid.{cell}.cell: recipe {row.recipe!r} has no cells.{row.cell}{known}")
        file = f"ddpipe/methods/{row.recipe}.yaml:{row.recipe}"
        layers = [
            (f"{file}.parts", recipe.parts),
            *((f"{file}.{key}", numbers) for key, numbers in recipe.layers(row.cell, row.ipc)),
            (f"params.yaml:methods.{row.method}", self.changes(row.method)),
        ]
        return layers + self.kept(row, recipe, layers)

    def kept(
        self, row: settings.Row, recipe: settings.Recipe, layers: list[tuple[str, dict]]
    ) -> list[tuple[str, dict]]:
        """The layer of a cell that is watched while it is distilled; none where nothing is, as `ddpipe check` says.

        Where params.yaml makes a run shorter, for a trial, the snapshots that it no longer reaches are left out.
        """
        if row.name not in self.courses or recipe.parts.get("kind") == "selection":
            return []
        moments, shorter = list(self.courses[row.name].snapshots), self.changes(row.method).get("iterations")
        if isinstance(shorter, int):
            said: Any = {}
            for _, numbers in layers:
                said = merge(said, numbers)
            warm = said.get("warm")
            last = shorter + (warm.get("iterations", 0) if isinstance(warm, dict) else 0)
            moments = [moment for moment in moments if moment <= last]
        return [(f"courses.{row.name}", {"snapshots": moments})]

    def sources(self, row: settings.Row) -> str:
        """Where the settings of a row may stand, for sentences about them."""
        own = [f"{row.recipe}.parts", f"{row.recipe}.cells.{row.cell}", f"methods.{row.method}"]
        own += [f"courses.{row.name}"] if row.name in self.courses else []
        return f"{', '.join(own[:-1])} and {own[-1]}"

    def recipe(self, name: str) -> settings.Recipe:
        if name not in self.recipes:
            raise UserError(f"no recipe ddpipe/methods/{name}.yaml{did_you_mean(name, list(self.recipes))}")
        return self.recipes[name]

    def resolved(self, cell: str) -> settings.Cell:
        """The resolved settings of `cell`; a mistake is blamed on the layer it stands in."""
        return resolve(self.layers(cell))

    def cells(self) -> Iterator[tuple[str, settings.Row, settings.Cell]]:
        """The rows whose settings resolve, with them: what else is wrong with the others `ddpipe check` says."""
        for cell, row in self.rows.items():
            with contextlib.suppress(UserError):
                yield cell, row, self.resolved(cell)

    def origins(self, cell: str) -> dict[tuple[str, ...], str]:
        """Path of each number that a file states -> the layer it comes from."""
        found: dict[tuple[str, ...], str] = {}
        resolved: Any = {}
        for where, numbers in self.layers(cell):
            resolved = merge(resolved, numbers)
            kept = dict(leaves(resolved))
            found = {path: source for path, source in found.items() if path in kept}
            found |= {path: where for path, _ in leaves(numbers) if path in kept}
        return found

    def protocol(self, name: str, dataset: str) -> settings.Protocol:
        """Protocol `name` as used on `dataset`."""
        if name not in self.params.protocols:
            raise UserError(f"protocols.{name}: unknown protocol{did_you_mean(name, list(self.params.protocols))}")
        return excepted(self.params.protocols[name], name, dataset)

    def network(self, name: str) -> settings.Network:
        if name not in self.params.networks:
            raise UserError(f"networks.{name}: unknown network{did_you_mean(name, list(self.params.networks))}")
        return self.params.networks[name]

    @cached_property
    def results(self) -> Path:
        return self.root / "data" / "results"

    def evaluation(self, key: str) -> ResultKey:
        """What a row of the grid, or an entry of `evaluations:`, asks for."""
        if further := self.evaluations.get(key):
            return ResultKey(further.cell, further.network, further.protocol)
        row = self.row(key)
        return ResultKey(key, row.network, row.protocol)

    def is_main(self, key: ResultKey) -> bool:
        """Whether it is the one that the row itself asks for."""
        return key == self.evaluation(key.cell)

    def stage(self, key: ResultKey) -> str:
        """What DVC and `ddpipe run` call it."""
        if self.is_main(key):
            return f"evaluate@{key.cell}"
        return f"further@{key.cell}-{key.network}-{key.protocol}"

    def path(self, key: ResultKey) -> Path:
        """Where its result lies."""
        return self.results / self.row(key.cell).dataset / f"{key.name}.json"


def excepted(protocol: settings.Protocol, name: str, dataset: str) -> settings.Protocol:
    """`protocol` with its exceptions for `dataset` put over it."""
    changed = merge(
        protocol.model_dump(exclude={"exceptions"}, exclude_unset=True), protocol.exceptions.get(dataset, {})
    )
    return validate(settings.AnyProtocol, changed, f"protocols.{name}.exceptions.{dataset}")


def load(root: Path = Path("."), said: Any = None) -> Config:
    """Read params.yaml of the project at `root` and every recipe.

    Args:
        said: what params.yaml would say; left out: what it says.

    Raises:
        UserError: for the first unknown key, wrong type, impossible number or missing entry.
    """
    raw = read_yaml(root / "params.yaml") if said is None else said
    if not isinstance(raw, dict):
        raise UserError("params.yaml holds no settings; put it back, for example with `git checkout params.yaml`")
    unfinished: dict[str, dict] = {}
    params = validate(settings.Params, raw | {"grid": finished(raw.get("grid", {}), "grid", unfinished)}, "")
    recipes, files = {}, {"params.yaml": raw}
    rows, evaluations, courses = dict(params.grid), dict(params.evaluations), dict(params.courses)
    tables: dict[str, tuple[type[settings.Settings], dict[str, Any]]] = {
        "grid": (settings.Row, rows),
        "evaluations": (settings.Evaluation, evaluations),
        "courses": (settings.Course, courses),
    }
    for table, (_, entries) in tables.items():
        check_keys(table, entries)
    folder = root / "ddpipe" / "methods"
    for file in sorted((folder if folder.is_dir() else METHODS).glob("[!.]*.yaml")):
        where = f"ddpipe/methods/{file.name}"
        name = validate(Name, file.stem, where)
        content = read_yaml(file)
        if not isinstance(content, dict) or name not in content:
            raise UserError(f"{where}: the recipe must stand under the key {name!r}")
        for key in content.keys() - {name, *tables}:
            raise UserError(f"{where}:{key}: unknown key{did_you_mean(key, [name, *tables])}")
        files[where] = content
        recipes[name] = validate(settings.Recipe, content[name], f"{where}:{name}")
        for table, (kind, into) in tables.items():
            there = f"{where}:{table}"
            entries = finished(content.get(table) or {}, there, unfinished if kind is settings.Row else None)
            found = validate(dict[str, kind], entries, there)  # type: ignore[valid-type]
            check_keys(there, found)
            if twice := found.keys() & into.keys():
                raise UserError(f"{there}.{min(twice)}: this key exists twice; rename one of them")
            into.update(found)
    if both := rows.keys() & evaluations.keys():
        raise UserError(f"evaluations.{min(both)}: a row of the grid has this name too; give its protocol another name")
    config = Config(root, params, recipes, rows, evaluations, files, courses)
    for where, fields in unfinished.items():
        from ddpipe.rows import completed  # which builds on this module

        rows[where.rpartition(".")[2]] = completed(config, where, fields)
    return config


def finished(table: Any, where: str, unfinished: dict[str, dict] | None) -> Any:
    """The rows of `table` that lack no field; the others are put into `unfinished` with the place where they stand."""
    if unfinished is None or not isinstance(table, dict):
        return table
    known = settings.Row.required()
    lacks = {
        key: row or {} for key, row in table.items() if row is None or isinstance(row, dict) and row.keys() < known
    }
    unfinished |= {f"{where}.{shorten(str(key))}": row for key, row in lacks.items()}
    return {key: row for key, row in table.items() if key not in lacks}


def check_keys(where: str, table: Mapping[str, settings.Row | settings.Evaluation | settings.Course]) -> None:
    """Whether every entry stands under its name: a stage is told nothing else."""
    for key, entry in table.items():
        if key != entry.name:
            said = f"its name is {entry.form}; rename it to {entry.name!r} or mend what it says"
            if isinstance(entry, settings.Row) and not entry.variant and key.startswith(f"{entry.name}-"):
                said += f"; a second row of its method, dataset and IPC says `variant: {key[len(entry.name) + 1 :]}`"
            raise UserError(f"{where}.{shorten(key)}: {said}")


def results_of(config: Config, dataset: str) -> list[ResultKey]:
    """Every evaluation that the report of `dataset` shows: the main one of each row, then the further ones."""
    main = [key for key, row in config.rows.items() if row.dataset == dataset]
    further = [key for key, entry in config.evaluations.items() if entry.dataset == dataset]
    return [config.evaluation(key) for key in main + further]
