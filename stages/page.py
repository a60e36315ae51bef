"""The page over all datasets: data/results and data/published -> reports/index.html."""

from pathlib import Path

from ddpipe.artifacts import write_text
from ddpipe.config import load
from ddpipe.report.page import render
from stages import run_command


def page() -> None:
    """Write reports/index.html: every dataset that has a result, with tables, pictures and figures, in one file.

    Reads params.yaml, the recipes, data/published and whatever lies in
    data/results; datasets without a result are named as not run yet.
    """
    write_text(Path("reports") / "index.html", render(load()))
    print("the report: reports/index.html")


if __name__ == "__main__":
    run_command(page)
