"""The code that is a cell's mathematics, as digests, on which DVC lets the cells depend (resolved.py).

It is the modules of its parts, and what they import, as far as it lies in ROOMS; of the loop and of the
features of herding and K-Center the modules' own text. Comments, docstrings, blank lines and import statements do not
count, so that they redistil nothing. Nor does shared code outside the rooms: data, files, randomness, and networks,
whose parameter counts and golden values tests hold.
"""

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from ddpipe import settings
from ddpipe.errors import UserError
from ddpipe.settings import strategy
from ddpipe.settings.part import program

TRAINING = ("ddpipe.experts.training", "ddpipe.augmentation.composed", "ddpipe.augmentation.older")  # of experts
ADVERSARIES = ("ddpipe.generators.training", "ddpipe.generators.inversion")  # of generators
SOURCES = Path(__file__).parents[2]  # where the package `ddpipe` lies
PARTS = ("objectives", "regularisers", "selections", "students", "synthetic")
ROOMS = (*PARTS, "augmentation", "distillation", "experts", "generators", "kernels", "training")
OTHERS = (  # no mathematics, or, as the package of augmentations, told by settings
    *("ddpipe.augmentation", "ddpipe.distillation.checkpoints", "ddpipe.distillation.finite"),
    *("ddpipe.distillation.running", "ddpipe.experts.buffer", "ddpipe.experts.recording", "ddpipe.generators.stored"),
    *("ddpipe.training.captured", "ddpipe.training.replayed"),
)

MODULES = {
    strategy.IDC: "composed",
    strategy.OLDER: "older",
    strategy.REFLECT: "reflected",
    strategy.FREPO: "milder",
}

Digests = dict[str, str]  # path of a module in the project -> SHA-256 of its code


def of_experts(augment: str = "none") -> Digests:
    """The mathematics of training on the real data."""
    return digests([*TRAINING, *augmenting(augment)])


def of_generators() -> Digests:
    """The mathematics of a GAN and of its inversion."""
    return digests(ADVERSARIES)


def of_course() -> Digests:
    """The mathematics of what is seen of a cell, beside its evaluation's."""
    return digests(["ddpipe.evaluation.space"])


def of_cell(chosen: settings.Cell) -> Digests:
    """The mathematics of a cell with these settings."""
    texts = []
    if chosen.steps:
        texts.append("ddpipe.distillation.loop")  # which can import every part
    if getattr(chosen, "snapshots", ()):
        texts.append("ddpipe.distillation.snapshots")  # of the loop
    if chosen.embedded:
        texts.append("ddpipe.experts.training")  # it has their features
    return digests(implementations(chosen), texts)


def implementations(chosen: settings.Cell) -> Iterator[str]:
    """The modules that a cell's settings name."""
    yield from map(program, chosen.parts().values())
    if chosen.steps:
        yield "ddpipe.distillation.outer"
    if getattr(chosen, "average", None) is not None:
        yield "ddpipe.distillation.average"
    if getattr(chosen, "warm", None) is not None:
        yield "ddpipe.distillation.warm"
    if getattr(chosen, "stop", None) is not None:
        yield "ddpipe.distillation.stop"
    for augment in chosen.augments().values():
        yield from augmenting(augment)


def augmenting(augment: str) -> Iterator[str]:
    """The module of an augmentation, where it is not DSA's, which all parts import."""
    for prefix, name in MODULES.items():
        if augment.startswith(prefix):
            yield f"ddpipe.augmentation.{name}"


def digests(modules: Iterable[str], texts: Iterable[str] = ()) -> Digests:
    """Of `modules` and all that they import, directly or not, and of the modules `texts` alone."""
    found: set[str] = set()
    left = list(modules)
    while left:
        if (module := left.pop()) not in found:
            found.add(module)
            left += [other for other in imports(module) if is_mathematics(other)]
    paths = {file(module) for module in found.union(texts)}
    return {path.relative_to(SOURCES).as_posix(): digest(text(path)) for path in sorted(paths)}


def is_mathematics(module: str) -> bool:
    return module not in OTHERS and any(f"{module}.".startswith(f"ddpipe.{room}.") for room in ROOMS)


def imports(module: str) -> Iterator[str]:
    """The modules of the program from which `module` takes names: not the package that passes them on."""
    for source, name in taken(text(file(module))).values():
        yield origin(source, name)


def origin(module: str, name: str) -> str:
    """The module that defines what `from module import name` gives."""
    below = SOURCES.joinpath(*module.split("."), name)
    if name and (below.is_dir() or below.with_suffix(".py").is_file()):
        return f"{module}.{name}"
    path = file(module)
    passed_on = taken(text(path)) if path.name == "__init__.py" else {}
    return origin(*passed_on[name]) if name in passed_on else module


@cache
def taken(code: str) -> dict[str, tuple[str, str]]:
    """Name in `code` -> the module of the program and the name there from which it is imported; "" for the module."""
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "ddpipe":
            found |= {name.asname or name.name: (str(node.module), name.name) for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {n.asname or n.name: (n.name, "") for n in node.names if n.name.partition(".")[0] == "ddpipe"}
    return found


def file(module: str) -> Path:
    path = SOURCES.joinpath(*module.split("."))
    for found in (path.with_suffix(".py"), path / "__init__.py"):
        if found.is_file():
            return found
    raise UserError(f"{path.with_suffix('.py').relative_to(SOURCES)} does not exist; put it back")


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def digest(code: str) -> str:
    """SHA-256 of what Python runs of `code`: of its text, since parsers' trees differ from one Python to the next."""
    lines, tree = [list(line) for line in code.split("\n")], ast.parse(code)
    within = {number for node in ast.walk(tree) for number in continued(node)}
    for first, start, last, end in (*statements(tree, code), *comments(code)):
        within -= set(range(first + 1, last + 1))
        for number in range(first, last + 1):
            line = lines[number - 1]
            cut = slice(start if number == first else 0, end if number == last else len(line))
            line[cut] = [""] * len(line[cut])
    kept = ["".join(line) for line in lines]
    kept = [line if number + 1 in within else line.rstrip() for number, line in enumerate(kept, 1)]
    kept = [line for number, line in enumerate(kept, 1) if line or number in within]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()


def statements(tree: ast.AST, code: str) -> Iterator[tuple[int, int, int, int]]:
    """First line and column, last line and end column of each import and docstring."""
    lines = [line.encode() for line in code.split("\n")]

    def column(line: int, byte: int) -> int:
        return len(lines[line - 1][:byte].decode())

    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) or isinstance(node, ast.Expr) and is_text(node.value):
            last = node.end_lineno or node.lineno
            yield node.lineno, column(node.lineno, node.col_offset), last, column(last, node.end_col_offset or 0)


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def comments(code: str) -> Iterator[tuple[int, int, int, int]]:
    """The same of each comment."""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield *token.start, *token.end


def continued(node: ast.AST) -> range:
    """The lines that begin within a string: of them blanks count too."""
    if isinstance(node, ast.JoinedStr) or isinstance(node, ast.Constant) and is_text(node):
        return range(node.lineno + 1, (node.end_lineno or 0) + 1)
    return range(0)
