"""The command `ddpipe`: what exists, where its numbers come from, whether it can run, what would run.

Each command imports what it needs when it is called: looking things up must not wait for torch.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ddpipe.command import Commands, guarded

app = Commands(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Dataset distillation as a reproducible pipeline. The stages run through DVC (`dvc repro report@digits`); "
    "these commands look at the grid of cells without running it. Call them where params.yaml lies.",
)


@app.command()
def methods() -> None:
    """List the methods: their parts, the authors' evaluation protocol, rows in the grid, changes in params.yaml."""
    from ddpipe import config
    from ddpipe.planning import explain

    print(explain.methods(config.load()))


@app.command()
def explain(cell: Annotated[str, typer.Argument(help="a row of the grid, for example dm-digits-10")]) -> None:
    """Show everything about CELL: its row, each number with the file it comes from, its protocols, commands, notes."""
    from ddpipe import config
    from ddpipe.planning import explain

    print(explain.cell(config.load(), cell))


@app.command()
def check() -> None:
    """Find every mistake in params.yaml, the recipes and the rows, without running anything.

    Prints one sentence a mistake and exits with code 2. Where data/prepared exists, images per class and network depth
    are held against the data too. A note is no mistake: a buffer that trains further than its cells look.
    """
    from ddpipe import config
    from ddpipe.checks import buffers, own
    from ddpipe.checks.project import problems

    project = config.load()
    for sentence in (*buffers.notes(project), *own.notes(project)):
        print(f"note: {sentence}")
    found = problems(project)
    for sentence in found:
        print(f"error: {sentence}", file=sys.stderr)
    if found:
        raise SystemExit(2)
    counts = (len(project.rows), len(project.evaluations), len(project.recipes))
    print("checked {} rows, {} further evaluations, {} recipes: no mistake".format(*counts))


@app.command()
def add(
    methods: Annotated[str, typer.Argument(help="entries of methods:, for example dm or dm,mtt")],
    dataset: Annotated[str, typer.Argument(help="an entry of datasets: or own:, or a new name with --images")],
    ipc: Annotated[str, typer.Option(help="images per class, for example 10 or 1,10")],
    images: Annotated[str, typer.Option(help="new images: a folder with a sub-folder a class, or an .npz file")] = "",
    test_images: Annotated[str, typer.Option(help="the .npz file of the test part, if it is one of its own")] = "",
    test_fraction: Annotated[float | None, typer.Option(help="of new images without a test part")] = None,
    resolution: Annotated[int | None, typer.Option(help="side to which new images are resized, in pixels")] = None,
    grey: Annotated[bool | None, typer.Option("--grey", help="read new images as one channel")] = None,
    flip: Annotated[
        bool | None, typer.Option(help="whether a mirrored image belongs to the same class (not with b and d)")
    ] = None,
    network: Annotated[
        str, typer.Option(help="trained on the set and tested; left out: as usual for such images")
    ] = "",
    student: Annotated[str, typer.Option(help="the network that the set is learned with; left out: the same")] = "",
    protocol: Annotated[
        str, typer.Option(help="how the set is measured; left out: as other rows, or as its authors do")
    ] = "",
    data: Annotated[str, typer.Option(help="another prepared form of the dataset")] = "",
    numbers: Annotated[
        list[str] | None, typer.Option("--set", help="a number of the method: iterations=500, outer.images.lr=0.1")
    ] = None,
    name: Annotated[str, typer.Option("--as", help="name of the method with these numbers")] = "",
    rivals: Annotated[
        str,
        typer.Option(
            help="real images beside it: random,herding,kcenter, or none where these are there; left out: whole too"
        ),
    ] = "",
) -> None:
    """Write an experiment into params.yaml: METHODS on DATASET, with all that its report needs.

    Beside their rows these are the entry of new images, rows of Random, Herding and K-Center under the same protocol
    and of the whole set, the buffers of experts or generators that they need, and the report. Numbers of --set make a
    method of their own. Where a cell exists with the same network, another --protocol or --network (with --student)
    becomes a further evaluation; with another student or --data it is a second row, a variant. Real images that are
    there are measured again, whatever chose them. Nothing is written where all of it exists or `ddpipe check` would
    refuse the result, as where Random, Herding or K-Center would lack; comments and line breaks stay.
    """
    from ddpipe import config
    from ddpipe.errors import UserError
    from ddpipe.planning import add as adding
    from ddpipe.planning import added as words
    from ddpipe.rows import number

    counts = []
    for word in ipc.split(","):
        if (count := number(word.strip())) is None:
            raise UserError(f"--ipc {ipc}: must be numbers of images per class with commas between, or all")
        counts.append(count)
    fields = {"network": network, "student": student, "protocol": protocol, "data": data}
    found = {"path": images, "test_path": test_images}
    told = {"test_fraction": test_fraction, "resolution": resolution, "grey": grey, "flip": flip}
    wish = adding.Wish(
        [word.strip() for word in methods.split(",")],
        dataset,
        counts,
        {key: value for key, value in fields.items() if value},
        {key: value for key, value in found.items() if value}
        | {key: value for key, value in told.items() if value is not None},
        numbers or [],
        name,
        None if not rivals else [] if rivals == "none" else [word.strip() for word in rivals.split(",")],
    )
    growing = adding.add(config.load(), wish)
    print(words.entries(growing))
    print(words.cost(growing, dataset))
    print(f"next: `ddpipe run {dataset}`, or `dvc repro report@{dataset}`; then look at reports/{dataset}")


@app.command()
def plan(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="stages (distill@dm-digits-1), datasets (digits) or cells; left out: everything"),
    ] = None,
    calibration: Annotated[
        bool, typer.Option(help="measure single network passes on this device where the estimate lacks them")
    ] = True,
) -> None:
    """Say what `dvc repro TARGET...` would do, why, and what it would cost in device time and disk.

    What is up to date, cached, run, or run after something else; unfinished work in data/checkpoints with its
    iteration. Works in a clone without data. The estimate counts the passes of every stage that would run, as if it
    began anew, times their seconds on this device: measured once, in a second or two a network, and kept in
    data/calibration.json.
    """
    from ddpipe import config
    from ddpipe.planning import show, steps

    project = config.load()
    found = steps.plan(project, *(targets or []))
    print(show.states(project, found, names=bool(targets)))
    if not any(step.state in (steps.RUNS, steps.AFTER) for step in found):
        return
    from ddpipe.device import choose, describe
    from ddpipe.planning.calibration import Calibration
    from ddpipe.planning.calls import Bench
    from ddpipe.planning.estimate import demands, estimate
    from ddpipe.planning.images import sighted

    device = choose(project.params.run)
    project = sighted(project, [step.name.partition("@")[2] for step in found if step.group == "own"])
    asked, unknown = demands(project, found, stacked=device.type == "cuda")
    times = Calibration(project.root, describe(device))
    if calibration:
        times.measure([demand.work for demand in asked], Bench(device, project.params.run.threads, project.root))
    if asked or unknown:
        print(show.costs(project, estimate(asked, times), unknown, describe(device), cells=not targets))


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
def export(
    cell: Annotated[str, typer.Argument(help="a cell whose set is in data/distilled, or the path of such a folder")],
    out: Annotated[Path, typer.Argument(help="the new folder; it must not exist yet")],
    number: Annotated[int, typer.Option("--set", help="which of the cell's sets, from 0")] = 0,
    form: Annotated[str, typer.Option("--format", help="plain; or hf, for Hugging Face datasets too")] = "plain",
) -> None:
    """Write a distilled set for programs without ddpipe: OUT/set.npz, about.json, train.py, README.md, pictures/.

    The npz holds `images` (float32, the pixel space of the run), `targets`, `classes` and the preprocessing of test
    images; train.py trains networks by the row's protocol, in plain PyTorch, and reaches the accuracy that README.md
    tells.
    """
    from ddpipe import config
    from ddpipe.distilled.export import export

    folder = Path(cell) if Path(cell).is_dir() else Path("data/distilled") / cell
    print(export(config.load(), folder, out, number, form))


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


def main() -> None:
    guarded(app)


if __name__ == "__main__":
    main()
