"""How far a run is: a bar with the time left on a terminal, plain lines everywhere else."""

import os
import sys
import time
from types import TracebackType

from tqdm import tqdm

MOST_SECONDS = 30.0  # between two plain lines, however few iterations are done meanwhile


class Progress:
    """Counts the steps of a run that may have begun before (`start`); used as `with Progress(...) as progress`.

    Args:
        log_every: steps between two plain lines when standard error is no terminal; 0 means by time alone.
    """

    def __init__(self, description: str, total: int, start: int = 0, log_every: int = 0):
        self.description, self.total, self.done, self.log_every = description, total, start, log_every
        self.timed: tuple[int, float] | None = None  # steps done, and when, from where on time is counted
        self.logged = time.monotonic()
        self.bar = None
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":  # by custom, one that cannot go back in a line
            self.bar = tqdm(total=total, initial=start, desc=description, delay=2, leave=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()

    def skip(self, steps: int) -> None:
        """So many steps were done by an earlier process: they say nothing about the time that is left."""
        self.done += steps
        if self.bar is not None:
            self.bar.initial += steps
            self.bar.n += steps
            self.bar.unpause()

    def advance(self, note: str = "", steps: int = 1) -> None:
        """So many steps are done; `note` (a loss, an accuracy) is shown beside them.

        The first ones say nothing of those to come: data was read before them, and a device warms up in them.
        """
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
        if self.timed is None:
            self.skip(steps)
            self.timed = self.done, now
        else:
            self.done += steps
            if self.bar is not None:
                self.bar.update(steps)
        if self.bar is not None:
            return
        due = self.log_every and self.done // self.log_every > (self.done - steps) // self.log_every
        if due or now - self.logged > MOST_SECONDS:
            say(f"{self.description}: {self.done}/{self.total} {note}".rstrip() + self.left(now))
            self.logged = now

    def left(self, now: float) -> str:
        """How long the rest takes, as words behind a line; "" as long as nothing tells."""
        done, began = self.timed or (self.done, now)
        if self.done == done:
            return ""
        return f", {(now - began) / (self.done - done) * (self.total - self.done):.0f} s left"


def say(text: str) -> None:
    """A line of the log, on standard error at once, so that it survives a kill."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()
