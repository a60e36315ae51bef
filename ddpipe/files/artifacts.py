"""What lies between stages: safetensors and JSON, self-describing, never pickle, and never half-written.

Everything is written under a temporary name beside its place and renamed when complete, so that a killed or failed
writer (a full disk included) leaves either the old file or none. Temporary names are never shared: two writers of one
path cannot mix what they write. What a killed one left is cleared by the next that holds its lock (stages/__init__.py).
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpipe.errors import UserError
from ddpipe.files.advice import mend
from ddpipe.files.regular import regular

if TYPE_CHECKING:
    from torch import Tensor


DEPTH = 50  # of nested JSON; nothing that is written has more than ten
TEMPORARY = re.compile(r"\.(?P<name>.+?)(\.\d+-[0-9a-f]{8})?(\.old)?\.tmp")


def temporary_name(path: Path) -> Path:
    """A name of this call's own beside `path`, on the same file system; git and DVC ignore it."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def temporaries(folder: Path) -> Iterator[tuple[Path, Path]]:
    """(temporary, path that it was to become) of everything that writers have begun in `folder` and not finished."""
    for found in folder.iterdir() if folder.is_dir() else ():
        if match := TEMPORARY.fullmatch(found.name):
            yield found, folder / match["name"]


def delete(path: Path) -> None:
    """A file, a link or a folder with all that is in it, where there is one; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write `data` to `path` in one step; a full disk or a missing permission is a UserError that names the path.

    Args:
        mode: permissions of the file; left out, those of any new file.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def rewrite(path: Path, data: bytes) -> None:
    """`write_bytes` to a file that is there and the user's own: it keeps its permissions.

    Raises:
        UserError: nobody may write it, which the system does not tell root, or this user may not.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o222 or not os.access(path, os.W_OK):
        raise UserError(f"{path} is read-only; make it writable, then run the same command again")
    write_bytes(path, data, mode)


def unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}; free some space or mend the folder")


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """Sorted keys, so that equal values give equal bytes; NaN and infinity are refused."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path, advice: str | None = None) -> Any:
    """The value that the file holds; `advice` (left out: `mend`) ends the sentence where it is missing or no JSON."""
    if not path.exists():
        raise UserError(f"{path} does not exist; {advice or mend(path)}")
    try:
        value = json.loads(regular(path).read_bytes(), parse_constant=_refuse)
        _refuse_deep(value)
    except RecursionError as error:
        raise UserError(f"{path} is not valid JSON (nested too deeply); {advice or mend(path)}") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); {advice or mend(path)}") from error
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _refuse_deep(value: Any) -> None:
    """RecursionError where whoever walks through `value` would run into one, on this Python or on another."""
    level = [value]
    for _ in range(DEPTH):
        within = (x.values() if isinstance(x, dict) else x for x in level if isinstance(x, dict | list))
        level = [x for part in within for x in part]
    if level:
        raise RecursionError


def write_sealed(path: Path, value: dict[str, Any]) -> str:
    """`write_json` of a mapping, with the digest of all that it says under "seal"; this digest."""
    seal = digest(value)
    write_json(path, value | {"seal": seal})
    return seal


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote, the seal included; UserError where anything of it has changed since."""
    value = read_json(path)
    check_seal(path, value)
    return value


def check_seal(path: Path, value: Any, advice: str | None = None) -> None:
    """UserError unless `value`, read from `path`, is what `write_sealed` wrote."""
    if not (isinstance(value, dict) and "seal" in value):
        raise UserError(f"{path} carries no seal (an earlier ddpipe wrote it, or none); {advice or mend(path)}")
    try:
        fits = value["seal"] == digest({k: v for k, v in value.items() if k != "seal"})
    except ValueError:  # a number beyond all bounds
        fits = False
    if not fits:
        raise UserError(f"{path} does not say what was written (its seal does not fit); {advice or mend(path)}")


def write_tensors(path: Path, tensors: "dict[str, Tensor]", meta: Any = None) -> None:
    """Write tensors (moved to the CPU) with `meta` as JSON in the header; equal contents give equal bytes."""
    from safetensors.torch import save

    header = {} if meta is None else {"meta": json.dumps(meta, sort_keys=True, allow_nan=False)}
    flat = {name: tensors[name].detach().to("cpu").contiguous() for name in sorted(tensors)}
    write_bytes(path, save(flat, metadata=header))


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], Any]":
    """The tensors of `path` (on the CPU, mapped from the file) and the meta value they were written with, if any.

    safetensors holds the header against the size of the file; what torch cannot represent of it is refused here.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise UserError(f"{path} does not exist; {mend(path)}")
    try:
        with safe_open(regular(path), framework="pt", device="cpu") as file:
            meta = (file.metadata() or {}).get("meta")
            return {name: file.get_tensor(name) for name in file.keys()}, None if meta is None else json.loads(meta)  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path} is damaged or cut short ({reason}); {mend(path)}") from error


def verify(path: Path, sha256: str) -> None:
    """UserError unless the file's bytes have this digest, which was written beside it."""
    if not path.exists():
        raise UserError(f"{path} does not exist; {mend(path)}")
    if file_digest(path) != sha256:
        raise UserError(f"{path} is damaged or cut short (its SHA-256 is not what was written); {mend(path)}")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path` that takes its place when the block ends, and vanishes when it fails.

    A link that lies at `path` is replaced; what it leads to stays as it is.
    """
    temporary = temporary_name(path)
    old = temporary.with_suffix(".old.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if os.path.lexists(path):
            os.replace(path, old)  # at once: a kill while the old files are deleted must not leave some of them here
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        for left_behind in (temporary, old):
            with contextlib.suppress(OSError):
                delete(left_behind)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of a JSON value; key order and 1 against 1.0 do not matter."""

    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {str(k): plain(v) for k, v in x.items()}
        if isinstance(x, list | tuple):
            return [plain(v) for v in x]
        return int(x) if isinstance(x, float) and x.is_integer() else x

    return hashlib.sha256(json.dumps(plain(value), sort_keys=True, allow_nan=False).encode()).hexdigest()
