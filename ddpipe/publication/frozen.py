"""ddpipe/published.yaml: what params.yaml said of the published rows when they were published.

Recipes name data, networks, experts, generators and protocols, whose numbers stand in params.yaml, where everybody may
change them. The frozen copy has exactly those that published rows and the survey's tables name: whoever changes one
sees that what is made with it is not as published any more. `survey` and `methods` are written by hand: the survey's
datasets, and the entries of `methods:` that are a published variant of their recipe. The rest is what
`python -m ddpipe.publication.frozen` prints.
"""

import io
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ddpipe import settings
from ddpipe.config import METHODS, Config, load
from ddpipe.files.yaml import read_yaml
from ddpipe.settings.names import Name
from ddpipe.settings.reading import validate

FILE = METHODS.with_name("published.yaml")
BLOCKS = ("datasets", "networks", "experts", "generators", "protocols")


class Frozen(settings.Settings):
    survey: tuple[Name, ...]  # datasets
    methods: dict[Name, dict] = {}
    datasets: dict[Name, settings.Dataset] = {}
    networks: dict[Name, settings.Network] = {}
    experts: dict[Name, settings.Experts] = {}
    generators: dict[Name, settings.Generators] = {}
    protocols: dict[Name, settings.AnyProtocol] = {}

    def variant(self, row: settings.Row) -> bool:
        """Whether its method is a published variant of the recipe."""
        return row.method in self.methods

    def publishes(self, row: settings.Row) -> bool:
        """Whether a row of a recipe's file is a published one."""
        own = row.method == row.recipe or self.variant(row)
        return own and row.dataset in self.survey and row.variant is None


def frozen(root: Path) -> Frozen:
    """That of the project at `root`, or the package's own where it has none, nor recipes.

    Of a project with recipes of its own and without this file, params.yaml says what is published.

    Raises:
        UserError: the file is missing or damaged.
    """
    own, recipes = root / "ddpipe" / FILE.name, root / "ddpipe" / METHODS.name
    if own.exists() and own.resolve() != FILE:
        return _read(own)
    packaged = _packaged()
    return packaged if recipes.resolve() == METHODS or not recipes.is_dir() else Frozen(survey=packaged.survey)


def _read(path: Path) -> Frozen:
    found: Frozen = validate(Frozen, read_yaml(path), path.name)
    return found


@cache
def _packaged() -> Frozen:
    return _read(FILE)


def published_rows(config: Config, known: Frozen) -> Iterator[settings.Row]:
    """The rows of the recipes' files that say what was published."""
    for place, content in config.files.items():
        if place != "params.yaml":
            rows = (config.rows[key] for key in content.get("grid") or {})
            yield from filter(known.publishes, rows)


def stated(config: Config, known: Frozen) -> dict[str, dict[str, Any]]:
    """What params.yaml says today of all that published rows and their recipes name; exceptions of published data."""
    rows = list(published_rows(config, known))
    recipes = [config.recipe(name) for name in dict.fromkeys(row.recipe for row in rows)]
    generators = {row.generator for row in rows if row.generator}
    named = {
        "datasets": {row.data for row in rows},
        "networks": {name for row in rows for name in (row.student, row.network)},
        "experts": {row.buffer for row in rows if row.buffer}
        | {config.params.generators[name].buffer for name in generators},
        "generators": generators,
        "protocols": {row.protocol for row in rows}
        | {name for recipe in recipes for name in (recipe.protocol, *recipe.also, *recipe.tables.values())},
    }
    said = config.files["params.yaml"]
    found = {
        block: {name: said[block][name] for name in said.get(block) or {} if name in named[block]} for block in BLOCKS
    }
    for name, numbers in found["protocols"].items():
        if "exceptions" in numbers:
            kept = {data: changes for data, changes in numbers["exceptions"].items() if data in known.survey}
            rest = {key: value for key, value in numbers.items() if key != "exceptions"}
            found["protocols"][name] = rest | ({"exceptions": kept} if kept else {})
    return found


def text(config: Config, known: Frozen) -> str:
    """published.yaml as it must be today."""
    yaml, stream = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.dump({"survey": list(known.survey), "methods": known.methods} | stated(config, known), stream)
    return stream.getvalue()


if __name__ == "__main__":
    sys.stdout.write(text(load(), frozen(Path())))
