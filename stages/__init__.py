"""One thin command a stage: read params and files, call ddpipe, write files. The only code that knows paths."""

from ddpipe.command import run as run_command

__all__ = ["run_command"]
