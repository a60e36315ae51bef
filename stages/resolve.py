"""Stage `resolve`: what each stage of the grid depends on -> data/resolved/<stage>/<key>.json."""

from ddpipe.config import load
from ddpipe.files.artifacts import new_folder, write_json
from ddpipe.pipeline.resolved import FOLDER, everything
from stages import claim, run_command


def main() -> None:
    """Write data/resolved: for every buffer, cell and evaluation its numbers and the digests of its mathematics.

    Where a file changed, its stage runs again. Comments, docstrings, imports and blank lines do not count.
    """
    config = load()
    claim("resolve", [FOLDER])
    with new_folder(FOLDER) as folder:
        for name, said in everything(config):
            path = folder / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            write_json(path, said)


if __name__ == "__main__":
    run_command(main)
