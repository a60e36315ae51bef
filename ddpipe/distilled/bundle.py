"""train.py of an exported set: the parts of standalone/ that the kind of its protocol needs, joined to one file.

Read as text: nothing is imported, and `ddpipe check` asks here without torch.
"""

import ast
import re
import sys
from pathlib import Path

from ddpipe.settings import Protocol

PARTS = Path(__file__).with_name("standalone")
PACKAGE, RECORDS = "ddpipe.distilled.standalone.", "ddpipe.settings.protocols."
MAIN = "program"  # the part that every program has
TAIL = """

if __name__ == "__main__":
    run(learn)
"""


def kind_of(protocol: Protocol | type[Protocol]) -> str:
    """The name of a record's module, which that of its program has too."""
    return (protocol if isinstance(protocol, type) else type(protocol)).__module__.removeprefix(RECORDS)


def lacking(protocol: Protocol | type[Protocol]) -> str | None:
    """Why sets that are measured by this kind of protocol cannot be exported; None where they can."""
    kind = kind_of(protocol)
    if (PARTS / f"{kind}.py").is_file():
        return None
    return (
        f"sets measured by kind {kind!r} cannot leave ddpipe: write ddpipe/distilled/standalone/{kind}.py with "
        "learn(net, about, arrays), what the exported program does"
    )


def program(kind: str) -> str:
    """The part `kind`, with all that it and the main part import of this package, in an order in which it runs."""
    parts: dict[str, Part] = {}

    def add(name: str) -> None:
        if name not in parts:
            part = Part(name)
            for other in part.parts:
                add(other)
            parts[name] = part

    add(kind)
    add(MAIN)
    names = [name for part in parts.values() for name in part.names]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"parts of the program of {kind} both define {', '.join(sorted(twice))}")
    bodies = [f"\n# --- {part.title} ---\n\n\n{part.body}\n" for name, part in parts.items() if name != MAIN]
    main = parts[MAIN]
    head = [f'"""{main.about}"""\n', imports(list(parts.values()))]
    return "\n".join([*head, *bodies, f"\n# --- the program ---\n\n\n{main.body}\n"]) + TAIL


def imports(parts: "list[Part]") -> str:
    """What the parts import of the standard library, then of other packages."""
    taken: dict[str, set[str]] = {}
    for part in parts:
        for module, inside in part.taken.items():
            taken.setdefault(module, set()).update(inside)
    lines = {f"import {name}": name for name in sorted({name for part in parts for name in part.modules})}
    lines |= {f"from {module} import {', '.join(sorted(names))}": module for module, names in sorted(taken.items())}
    own = {line: re.split(r"[. ]", module)[0] in sys.stdlib_module_names for line, module in lines.items()}
    return "\n".join([*(line for line in lines if own[line]), "", *(line for line in lines if not own[line]), ""])


class Part:
    """A module of the package, taken apart.

    Attributes:
        parts: those of the package that it imports from.
        modules, taken: what else it imports, as `import a` or `import a as b`, and as `from a import b`.
        names: what it defines.
        body: its text without docstring and imports.
    """

    def __init__(self, name: str):
        text = (PARTS / f"{name}.py").read_text(encoding="utf-8")
        tree = ast.parse(text)
        self.about = ast.get_docstring(tree, clean=False) or ""
        self.title = self.about.splitlines()[0].rstrip(".").lower()
        self.parts: list[str] = []
        self.modules: set[str] = set()
        self.taken: dict[str, set[str]] = {}
        self.names: list[str] = []
        last = tree.body[0].end_lineno or 0
        for node in tree.body[1:]:
            if isinstance(node, ast.Import):
                self.modules.update(map(ast.unparse, node.names))
            elif isinstance(node, ast.ImportFrom) and (module := node.module or "").startswith(PACKAGE):
                self.parts.append(module.removeprefix(PACKAGE))
            elif isinstance(node, ast.ImportFrom):
                self.taken.setdefault(module, set()).update(map(ast.unparse, node.names))
            else:
                self.names += defined(node)
                continue
            last = node.end_lineno or last
        self.body = "\n".join(text.splitlines()[last:]).strip("\n")


def defined(node: ast.stmt) -> list[str]:
    """The names that a statement gives at the top of a module."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
