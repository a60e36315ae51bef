"""Stage `resolve`: what each stage of the grid depends on -> data/resolved/<stage>/<key>.json."""

from ddpipe.config import load
from ddpipe.pipeline.resolved import FOLDER, write
from stages import claim, run_command


def main() -> None:
    """Write data/resolved: for every buffer, cell and evaluation its numbers and the digests of its mathematics.

    Where a file changed, its stage runs again. Comments, docstrings, imports and blank lines do not count.
    """
    config = load()
    claim("resolve", [FOLDER])
    write(config)


if __name__ == "__main__":
    run_command(main)
