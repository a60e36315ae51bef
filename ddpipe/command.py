"""How every command ends: in one sentence and a failing exit code where it cannot go on, never in a traceback.

What a user can mend gives exit code 2, an interruption 130, a reader that has gone (`| head`) 141 and no sentence. What
nobody thought of is no mistake of the user: exit code 1, and the traceback is kept in a file for a report.
"""

import contextlib
import functools
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import typer

from ddpipe.errors import UserError, out_of_memory
from ddpipe.pipeline import links

GONE = 128 + 13  # as a shell shows a process that SIGPIPE ended


def guarded(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Call `function`; what it raises becomes `error: <sentence>` on standard error and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # None where it is closed
            stream.reconfigure(errors="backslashreplace")  # a name that the locale cannot show must not end a stage
    try:
        told(function, *arguments, **options)
    except (BrokenPipeError, SystemExit) as end:  # Typer makes an exit of a broken pipe
        if not isinstance(end, BrokenPipeError) and not isinstance(end.__context__, BrokenPipeError):
            raise
        quiet()
        raise SystemExit(GONE) from None


def told(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """`function(...)`, and all that it printed delivered; what it raises told, but for a reader that has gone."""
    try:
        try:
            function(*arguments, **options)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        raise
    except UserError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted; run the same command again to continue", 130)
    except OSError as error:
        name = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        fail(f"cannot use{name}: {error.strerror or error}; mend it and run the same command again")
    except Exception as error:
        if out_of_memory(error):
            fail("out of memory; use smaller images or a smaller network, or a machine with more memory")
        unexpected(error)


class Commands(typer.Typer):
    """Typer, but an interruption or an error in a command is told before Typer sees it and ends in its own way."""

    def command(self, *arguments: Any, **options: Any) -> Any:
        register = super().command(*arguments, **options)

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            register(functools.wraps(function)(functools.partial(guarded, function)))
            return function

        return add


def unexpected(error: Exception) -> None:
    """Tell an error that nobody foresaw, and where its traceback is."""
    text = "".join(traceback.format_exception(error))
    last = traceback.extract_tb(error.__traceback__)[-1]
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    try:
        with tempfile.NamedTemporaryFile("w", prefix="ddpipe-", suffix=".txt", encoding="utf-8", delete=False) as file:
            file.write(text)
    except OSError:
        print(text, file=sys.stderr)
        fail(f"unexpected {what}; this is a fault of ddpipe, please report it with the lines above", 1)
    where = f"{Path(last.filename).name}, line {last.lineno}"
    fail(f"unexpected {what} ({where}); this is a fault of ddpipe, please report it with {file.name}", 1)


def fail(sentence: str, code: int = 2) -> NoReturn:
    print("error:", " ".join(line.strip() for line in sentence.splitlines()), file=sys.stderr)
    raise SystemExit(code)


def quiet() -> None:
    """Nothing that is still to be printed can arrive; Python would complain of that when it ends."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run(function: Callable[..., Any]) -> None:
    """Run `function` as a Typer command of its own, guarded."""
    app = Commands(add_completion=False, pretty_exceptions_enable=False)
    app.command()(function)

    def stage() -> None:
        links.refuse()
        app()

    guarded(stage)
