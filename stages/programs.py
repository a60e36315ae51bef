"""Stage `programs`: digests of the code that is each method's mathematics -> data/programs/<method>.json."""

from ddpipe.config import load
from ddpipe.files.artifacts import new_folder, write_json
from ddpipe.pipeline.programs import FOLDER, programs
from stages import claim, run_command


def main() -> None:
    """Write data/programs: what `distill` and `experts` depend on, for every method with rows.

    A file has the SHA-256 of each module, without comments, docstrings, imports and blank lines; where one changes,
    the method's sets are made anew.
    """
    config = load()
    claim("programs", [FOLDER])
    with new_folder(FOLDER) as folder:
        for name, digests in programs(config).items():
            write_json(folder / f"{name}.json", digests)


if __name__ == "__main__":
    run_command(main)
