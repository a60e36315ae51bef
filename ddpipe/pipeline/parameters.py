"""Files of parameters parsed once a version, not once a question.

DVC parses params.yaml and a recipe anew, and searches both, whenever it asks a stage whether its parameters changed and
whenever it takes them down: five times for a stage that runs, 0.1 s of processor time each.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def parsed_once() -> Iterator[None]:
    """DVC reads parameters through a memory of what it read, until the block ends."""
    from dvc.dependency import param

    load, read = param.load_path, param.read_param_file
    files: dict[str, tuple[os.stat_result, Any, dict[str, Any]]] = {}  # as parsed, and what was found under a key

    def file(path: str, fs: Any) -> tuple[Any, dict[str, Any]]:
        now, known = os.stat(path), files.get(path)
        if known is None or (known[0].st_mtime_ns, known[0].st_size, known[0].st_ino) != (
            *(now.st_mtime_ns, now.st_size, now.st_ino),
        ):
            known = files[path] = now, load(path, fs), {}
        return known[1:]

    def values(fs: Any, path: str, keys: list[str] | None = None, flatten: bool = False, **how: Any) -> Any:
        if not keys or not flatten or how:
            return read(fs, path, keys, flatten, **how)
        found = file(path, fs)[1]
        for key in keys:
            if key not in found:
                found[key] = read(fs, path, [key], flatten=True)
        return {name: value for key in keys for name, value in found[key].items()}

    param.load_path, param.read_param_file = lambda path, fs: file(path, fs)[0], values
    try:
        yield
    finally:
        param.load_path, param.read_param_file = load, read
