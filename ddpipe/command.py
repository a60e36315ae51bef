"""How every command ends: a user's mistake is one sentence and exit code 2, never a traceback."""

import sys
from collections.abc import Callable
from typing import Any

import typer

from ddpipe.errors import UserError, out_of_memory


def guarded(function: Callable[[], Any]) -> None:
    """Call `function`; turn what a user can mend into `error: <sentence>` on standard error and exit code 2."""
    try:
        function()
    except UserError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted; run the same command again to continue", 130)
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        fail(f"cannot use{name}: {error.strerror or error}; mend it and run the same command again")
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        fail("out of memory; use smaller images or a smaller network, or a machine with more memory")


def fail(sentence: str, code: int = 2) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    raise SystemExit(code)


def run(function: Callable[..., Any]) -> None:
    """Run `function` as a Typer command of its own, guarded."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(function)
    guarded(app)
