"""The command `ddpipe`: what exists, where its numbers come from, whether it can run, what would run.

Each command imports what it needs when it is called: looking things up must not wait for torch.
"""

from ddpipe.cli import grid, sets, work  # noqa: F401 - their commands are there once they are imported
from ddpipe.cli.app import app
from ddpipe.command import guarded


def main() -> None:
    guarded(app)
