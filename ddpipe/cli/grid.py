"""Commands that look at the grid of cells without running it, or write into it."""

import sys
from typing import Annotated

import typer

from ddpipe.cli.app import app


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
    own = {"path": images or None, "test_fraction": test_fraction, "resolution": resolution, "grey": grey, "flip": flip}
    wish = adding.Wish(
        [word.strip() for word in methods.split(",")],
        dataset,
        counts,
        {key: value for key, value in fields.items() if value},
        {key: value for key, value in own.items() if value is not None},
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
