"""Commands that run stages, here or elsewhere, and clean up behind them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ddpipe.cli.app import app


@app.command()
def run(
    targets: Annotated[
        list[str] | None, typer.Argument(help="stages, datasets or cells, as in `ddpipe plan`; left out: everything")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="commands that run at once")] = 1,
    single_item: Annotated[
        bool, typer.Option("--single-item", "-s", help="the targets alone, not what they depend on")
    ] = False,
) -> None:
    """Do what `dvc repro TARGET...` does, quicker where the grid is large, and several commands at once.

    What is up to date stays, what DVC remembers comes from its cache, the rest runs, each stage as soon as what it
    needs is there; a stage that fails keeps back only what needs it. dvc.lock, the cache and the run-cache end as after
    `dvc repro`, and either command goes on where the other stopped. dvc.lock is written for many stages together: also
    when a stage fails, and after Ctrl-C, which stops the commands (a second one kills them).
    """
    from ddpipe import config
    from ddpipe.pipeline import run

    run.run(config.load(), targets or [], jobs, upstream=not single_item)


@app.command()
def pack(
    targets: Annotated[
        list[str], typer.Argument(help="stages, cells or datasets, as in `ddpipe plan`; first come first")
    ],
    out: Annotated[Path, typer.Option(help="the new folder; it must not exist yet")] = Path("pack"),
    python: Annotated[str, typer.Option(help="version there, for example 3.12: wheels are packed too")] = "",
    most: Annotated[float, typer.Option(min=0, help="MiB that the pack may take; 0: any")] = 0,
) -> None:
    """Pack what a machine without network or DVC needs to run TARGETS: code, numbers, data, checkpoints, wheels.

    There `python3 OUT/run.py --seconds N --out home` runs the stages in the order of TARGETS until the time is over.
    What `ddpipe unpack home` brings in here goes on in the next pack. The machine needs Python >= 3.11, torch, numpy.
    """
    from ddpipe import config
    from ddpipe.packing import pack

    print(pack.pack(config.load(), targets, out, python, most))


@app.command()
def unpack(
    folder: Annotated[Path, typer.Argument(help="the folder that run.py wrote, as it is")],
) -> None:
    """Take in what a packed run made: sets, results, costs, unfinished work; recorded as `dvc commit` does.

    A stage whose numbers or code have changed since it was packed is not taken, and the others are.
    """
    from ddpipe import config
    from ddpipe.packing import bring

    print(bring.unpack(config.load(), folder))


@app.command()
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list only")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="remove without asking")] = False,
) -> None:
    """List what rows, datasets, buffers and reports that are gone have left behind, and remove it when told to.

    Sets, experts, generators, prepared data, costs, results, checkpoints, reports and entries of dvc.lock. What other
    branches of the repository ask for counts as gone too: DVC's cache still holds its outputs until `dvc gc`, its
    checkpoints are lost. Nothing is removed while `ddpipe check` finds a mistake, nothing that a running stage uses,
    never data/raw.
    """
    from ddpipe import config
    from ddpipe.checks.project import problems
    from ddpipe.errors import UserError
    from ddpipe.pipeline import orphans

    project = config.load()
    if mistakes := problems(project):
        raise UserError(f"{mistakes[0]} (rows would be taken for gone; mend what `ddpipe check` says, then clean)")
    found = orphans.orphans(project)
    for orphan in found:
        size = f"{orphan.size / 2**20:10.2f} MB" if orphan.path else " " * 13
        print(f"{size}  {orphan.path or f'dvc.lock: {orphan.owner}'}")
    if not found:
        print("nothing is left over")
    elif dry_run or not yes and not sys.stdin.isatty():
        print("nothing was removed; `ddpipe clean --yes` removes what is listed")
    elif yes or typer.confirm(f"remove these {len(found)}?"):
        orphans.remove(project, found)
        print(f"removed {len(found)}")
