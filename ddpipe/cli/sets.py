"""Commands about distilled sets: those of the grid for others, and those of others."""

from pathlib import Path
from typing import Annotated

import typer

from ddpipe.cli.app import app


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

    project = config.load()
    folder = Path(cell) if Path(cell).is_dir() else Path("data/distilled") / project.row(cell).name
    print(export(project, folder, out, number, form))


@app.command()
def judge(
    file: Annotated[Path, typer.Argument(help="what its authors published: .pt, .pth or .npz")],
    cell: Annotated[str, typer.Argument(help="the row of the grid that the set is of, for example mtt-cifar10-10")],
    data: Annotated[str, typer.Option(help="entry of datasets: in whose pixel space its images are")] = "",
    labels: Annotated[Path | None, typer.Option(help="the labels, where they lie in a file of their own")] = None,
    lr: Annotated[float | None, typer.Option(help="the step size that was learned with the set")] = None,
    factor: Annotated[int | None, typer.Option(min=1, help="of IDC: an image holds so many squared")] = None,
    networks: Annotated[int | None, typer.Option(min=1, help="left out: as the row's protocol says")] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="whatever the statistics of the images say")] = False,
) -> None:
    """Measure a distilled set that others published as CELL is measured, beside the published value.

    Knows the files of DC, DSA and DM, of MTT, TESLA and FTD (images and labels apart), of IDC, and npz files with
    images and labels (KIP). They are read so that nothing in them can run. A set is worth what it is in its own pixel
    space only, so --data must name it, and a set that does not look whitened, or does, is refused where it should.
    """
    from ddpipe import config
    from ddpipe.judging.judge import Wish
    from ddpipe.judging.judge import judge as judged

    print(judged(config.load(), Wish(file, cell, data, labels, lr, factor, networks, anyway)))
