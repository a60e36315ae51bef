"""The published block that an evaluation is held against: the recipe's numbers, and the frozen copy of all it names."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ddpipe import settings
from ddpipe.config import ORIGINS, Config, ResultKey, excepted, resolve
from ddpipe.planning.shapes import data_of, published
from ddpipe.publication.block import Block
from ddpipe.publication.frozen import frozen, published_rows
from ddpipe.publication.matching import table_of
from ddpipe.settings.shapes import Shape
from ddpipe.variants import cell_names


@dataclass(frozen=True)
class Target:
    """What was published for an evaluation."""

    block: Block
    protocol: str  # its name
    known: bool  # whether the survey has its dataset: of other data a block says only how large images are
    doubts: tuple[str, ...]  # in sentences, what of it nobody published


class Authors:
    """The published blocks of one project; what is composed once is kept."""

    def __init__(self, config: Config) -> None:
        self.config, self.known = config, frozen(config.root)
        self.rows: defaultdict[str, list[settings.Row]] = defaultdict(list)  # published ones, by their method
        for row in published_rows(config, self.known):
            self.rows[row.method].append(row)
        self._composed: dict[tuple[str, str, int | str], settings.Cell] = {}
        self._protocols: dict[tuple[str, str], settings.Protocol] = {}

    def method(self, row: settings.Row) -> str:
        """The published method behind a row: its recipe's, or a published variant of it."""
        return row.method if self.known.variant(row) else row.recipe

    def model(self, row: settings.Row) -> settings.Row | None:
        """The published row that a row is held against: of its dataset and IPC, of its dataset, or as most are.

        None where the recipe has no published row at all.
        """
        own = self.rows[self.method(row)] or self.rows[row.recipe]
        alike = [other for other in own if same(other, row)] or list(filter(self._nearest(row, own), own))
        usual = Counter((other.student, other.network) for other in alike).most_common(1)
        return next((other for other in alike if (other.student, other.network) == usual[0][0]), None)

    def _nearest(self, row: settings.Row, own: list[settings.Row]) -> Callable[[settings.Row], bool]:
        """Whether a row is of the dataset, or, where none is, of images whose size is nearest."""
        if any(other.dataset == row.dataset for other in own):
            return lambda other: other.dataset == row.dataset
        shapes = {other.data: shape(self.data(other.data)) for other in own}
        there = data_of(self.config, row.data)
        if there is None:
            return lambda other: True

        def far(other: settings.Row) -> float:
            found = shapes[other.data]
            return abs(math.log(found.resolution / there.shape.resolution)) if found else math.inf

        least = min(map(far, own), default=0.0)
        return lambda other: far(other) == least

    def data(self, name: str) -> settings.Dataset:
        return self.known.datasets.get(name) or self.config.params.datasets[name]

    def entry(self, row: settings.Row, model: settings.Row | None) -> str:
        """The recipe's cell with the published numbers for a row."""
        recipe = self.config.recipe(row.recipe)
        if model is not None and (same(model, row) or self.known.variant(model)):
            return model.cell
        cells = cell_names(row.dataset, row.ipc, self.known.methods.get(self.method(row), {}).get("cells"))
        cells = cells if row.dataset in self.known.survey else cells[-1:]
        return next((cell for cell in cells if cell in recipe.cells), "default")

    def target(self, key: ResultKey, tested: settings.Network) -> Target:
        """What was published for an evaluation of the grid, on a network like `tested` where a table prints one."""
        row = self.config.row(key.cell)
        recipe, model = self.config.recipe(row.recipe), self.model(row)
        entry, like = self.entry(row, model), model or row
        table, network = table_of(tested) or (None, self._network(like.network))
        protocol = recipe.tables.get(table, recipe.protocol) if table else self._protocol(key, row, model)
        generators = self.known.generators.get(like.generator or "")
        experts = self.known.experts.get((generators.buffer if generators else like.buffer) or "")
        known = row.dataset in self.known.survey
        block = Block(
            settings=self._settings(row, entry),
            network=network,
            student=self._network(like.student),
            protocol=self._numbers(protocol, like.dataset),
            data=self.data(row.dataset if known and like.dataset != row.dataset else like.data),
            experts=experts,
            expert=self._network(experts.network) if experts else None,
            generators=generators,
        )
        return Target(block, protocol, known, tuple(self._doubts(row, model, entry, table)))

    def _protocol(self, key: ResultKey, row: settings.Row, model: settings.Row | None) -> str:
        recipe = self.config.recipe(row.recipe)
        if model is not None and (same(model, row) or self.known.variant(model)):
            return model.protocol
        return key.protocol if key.protocol in recipe.also else recipe.protocol

    def _numbers(self, name: str, dataset: str) -> settings.Protocol:
        if (name, dataset) not in self._protocols:
            known = self.known.protocols.get(name)
            found = excepted(known, name, dataset) if known else self.config.protocol(name, dataset)
            self._protocols[name, dataset] = found
        return self._protocols[name, dataset]

    def _network(self, name: str) -> settings.Network:
        return self.known.networks.get(name) or self.config.network(name)

    def _settings(self, row: settings.Row, entry: str) -> settings.Cell:
        method = self.method(row)
        if (method, entry, row.ipc) not in self._composed:
            recipe = self.config.recipe(row.recipe)
            layers = [("parts", recipe.parts), *recipe.layers(entry, row.ipc)]
            changes = {key: value for key, value in self.known.methods.get(method, {}).items() if key not in ORIGINS}
            self._composed[method, entry, row.ipc] = resolve([*layers, (method, changes)])
        return self._composed[method, entry, row.ipc]

    def _doubts(self, row: settings.Row, model: settings.Row | None, entry: str, table: int | None) -> Iterator[str]:
        """What nobody published of the numbers of `entry` for this row, and of how the table was measured."""
        recipe = self.config.recipe(row.recipe)
        if row.dataset not in self.known.survey:
            yield f"nobody published anything for {row.dataset}"
        else:
            if entry not in recipe.unverified and (model is None or not same(model, row)):
                yield f"nobody published numbers for {row.dataset} with IPC {row.ipc}; these are of {entry}"
            yield from recipe.doubts(entry, table)
        if (taken := recipe.taken(entry, row.ipc)) not in (None, row.ipc):
            yield f"the numbers are those of IPC {taken}"


def same(one: settings.Row, other: settings.Row) -> bool:
    """Whether two rows are of one dataset and IPC."""
    return (one.dataset, one.ipc) == (other.dataset, other.ipc)


def shape(data: settings.Dataset) -> Shape | None:
    """Of images that everybody has; None of one's own."""
    known = published(data)
    return known.shape if known else None
