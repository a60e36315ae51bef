"""The house stands on its ground floor: who imports whom, no circle, no module too long to read."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 300  # lines of a module
FLOORS = (  # each imports from itself and from those above it in this list
    {"", "errors", "mappings", "states"},  # "": the package itself, which imports `ddpipe.load` when it is asked for
    {"settings", "files", "randomness", "progress", "memory", "device", "sending"},
    {"config", "variants", "rows"},
    {"pipeline", "command", "meter"},
    {"augmentation", "networks", "datasets"},
    {"training", "kernels"},
    {"experts", "generators"},
    {"context"},
    {"synthetic", "selections"},
    {"students"},
    {"objectives"},
    {"regularisers"},
    {"distillation", "evaluation"},
    {"distilled"},
    {"planning", "publication", "checks", "report"},
    {"packing", "judging"},
    {"cli", "__main__"},
)
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "ddpipe").rglob("*.py")
}


def floor(module: str) -> int:
    """Where the room of `module` lies; -1 for a room that no floor has."""
    room = module.removeprefix("ddpipe").strip(".").partition(".")[0]
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), -1)


def imports(module: str) -> Iterator[str]:
    """What `module` imports of the program when it is imported itself."""
    for node in ast.parse(MODULES[module].read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "ddpipe":
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)


def test_every_room_has_a_floor() -> None:
    assert [module for module in MODULES if floor(module) < 0] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_stands_on_lower_floors(module: str) -> None:
    assert [other for other in imports(module) if floor(other) > floor(module)] == []


def test_nothing_is_imported_in_a_circle() -> None:
    graph = {module: set(imports(module)) - {module} for module in MODULES}
    assert set(graphlib.TopologicalSorter(graph).static_order()) >= graph.keys()


@pytest.mark.parametrize("folder", ["ddpipe", "stages"])
def test_no_module_is_longer_than_a_sitting(folder: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert {str(path): lines for path, lines in lengths.items() if lines > LONGEST} == {}
