"""Stage `resolve`: what each stage of the grid depends on -> data/resolved/<stage>/<key>.json."""

from ddpipe.config import load
from ddpipe.pipeline.resolved import FOLDER, Resolved, everything, write
from stages import claim, run_command


def main() -> None:
    """Write data/resolved: for every buffer, cell and evaluation its numbers and the digests of its mathematics.

    Where a file changed, its stage runs again. Comments, docstrings, imports and blank lines do not count.
    """
    written: dict[str, Resolved] | None = None
    claim("resolve", [FOLDER])
    # DVC takes down what params.yaml says when this has ended: who edits it meanwhile must not be taken for resolved
    while (now := dict(everything(load()))) != written:
        write(now)
        written = now


if __name__ == "__main__":
    run_command(main)
