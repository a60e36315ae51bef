"""One thin command a stage: read params and files, call ddpipe, write files. The only code that knows paths.

What a stage is about is its only argument: a key of params.yaml or a recipe, alone or as DVC addresses the stage
(`dm-digits-1`, `distill@dm-digits-1`). DVC tells its commands this address in DVC_STAGE, so that dvc.yaml need not
write keys into a shell's line, where those of a hostile file would be obeyed.
"""

from ddpipe.command import run as run_command
from ddpipe.errors import UserError

__all__ = ["key_of", "run_command"]


def key_of(*stages: str, address: str) -> str:
    """The key in `address`: a key alone, or in DVC's words that of one of `stages`, <file>:<stage>@<key>."""
    before, at, key = address.rpartition("@")
    if at and before.rpartition(":")[2] not in stages:
        raise UserError(f"{address!r} is not for this stage, {' or '.join(stages)}@<key>; give a key of its own")
    return key
