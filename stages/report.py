"""Tables and figures of one dataset: data/results/<dataset> and data/published -> reports/<dataset>, data/metrics."""

from pathlib import Path
from typing import Annotated

import typer

from ddpipe.config import load
from ddpipe.files.artifacts import new_folder, write_bytes, write_json, write_text
from ddpipe.pipeline import courses
from ddpipe.report import claimed, figures, pool, published, scores, scores_text, seen, tables
from ddpipe.report.drawings import draw
from ddpipe.report.figures.vector import standalone
from ddpipe.report.frame import collect, losses, metrics, shown
from ddpipe.report.pictures import stored
from ddpipe.states import State
from stages import claim, key_of, run_command, settled

PUBLISHED = Path("data/published")


def report(dataset: Annotated[str, typer.Argument(help="A dataset of the grid, for example digits.")]) -> None:
    """Write the tables and figures of DATASET into reports/DATASET, measured beside published.

    Reads params.yaml, the recipes, data/published and whatever lies in
    data/results/DATASET; a cell without a result is printed as missing.

    Writes table.md, table.csv, table.tex, cells.csv (every evaluation with its
    state, n, std, seconds and memory), scores.md and scores.csv (label-robust and
    augmentation-robust scores, what a point costs, other networks),
    accuracy.csv and loss.csv (what figures show), the figures that have
    something to show, as PNG and SVG, and a picture of each set, and of how it
    became that where this was looked at, under images/; and
    data/metrics/DATASET, of which `dvc metrics` and `dvc exp show` speak: a
    file a method with the means by IPC.
    """
    config, dataset = load(), key_of("report", address=dataset)
    shown(config, dataset)  # a name that is none leads nowhere
    output, means = Path("reports") / dataset, Path("data/metrics") / dataset
    claim(f"report@{dataset}", [output, means])
    settled(config, dataset)
    frame = collect(config, dataset)
    curves = losses(config, frame)
    look, dpi = figures.looks(config), config.params.report.dpi
    own = frame[frame["main"] & frame["mean"].notna()]
    printed, named = published.read(PUBLISHED), claimed.named(claimed.read(PUBLISHED))
    pooled = pool.measured(config, {dataset: frame}, printed, named)
    with new_folder(output) as folder:
        write_text(folder / "table.md", tables.markdown(frame, f"{dataset}: measured and published accuracy"))
        write_text(folder / "table.csv", tables.comma_separated(frame))
        write_text(folder / "table.tex", tables.latex(frame, f"Test accuracy on {dataset}, measured and published."))
        write_text(folder / "cells.csv", frame.to_csv(index=False, lineterminator="\n"))
        methods = own.loc[own["state"] != State.OWN, ["ipc", "method", "mean", "std"]]  # a line each, where it is drawn
        write_text(folder / "accuracy.csv", methods.to_csv(index=False, lineterminator="\n"))
        write_text(folder / "loss.csv", curves.to_csv(index=False, lineterminator="\n"))
        write_text(folder / "scores.csv", scores.scores(pooled).to_csv(index=False, lineterminator="\n"))
        write_text(folder / "scores.md", scores_text.markdown(pooled, f"{dataset}: scores, costs and transfer"))
        for drawing in (*draw(dataset, frame, curves, look, dpi), *seen.draw(config, dataset, frame, look, dpi)):
            write_bytes(folder / f"{drawing.name}.png", drawing.png)
            write_text(folder / f"{drawing.name}.svg", standalone(drawing.svg))
        for cell in own["cell"]:
            if (png := stored(config, cell)) is not None:
                write_bytes(folder / "images" / f"{cell}.png", png)
            if (png := courses.picture(config, cell)) is not None:
                write_bytes(folder / "images" / f"{cell}.course.png", png)
    with new_folder(means) as folder:
        for name, entry in metrics(frame).items():
            write_json(folder / f"{name}.json", entry)
    print(f"{len(own)} of {int(frame['main'].sum())} cells have a result: reports/{dataset}/table.md")


if __name__ == "__main__":
    run_command(report)
