"""The page over all datasets and the survey's tables: data/results and data/published -> reports."""

from pathlib import Path

from ddpipe.config import load
from ddpipe.files.artifacts import new_folder, write_bytes, write_text
from ddpipe.report import published, survey, survey_text
from ddpipe.report.drawings import overall
from ddpipe.report.figures.vector import standalone
from ddpipe.report.frame import collect_all
from ddpipe.report.page import render
from stages import claim, run_command, settled


def page() -> None:
    """Write reports/index.html: every dataset that has a result, with tables, pictures and figures, in one file.

    Reads params.yaml, the recipes, data/published and whatever lies in
    data/results; datasets without a result are named as not run yet.

    Writes the survey's Tables 1-4, measured beside published, into the page
    and as reports/survey/table1.md, .csv and .tex to table4, and the tree of
    the methods as reports/survey/taxonomy.png and .svg.
    """
    config, index, folder_of_tables = load(), Path("reports/index.html"), Path("reports/survey")
    claim("page", [index, folder_of_tables])
    settled(config)
    frames = collect_all(config)
    tables = survey.tables(published.read(config.root / "data" / "published"), frames)
    html = render(config, frames, tables)
    with new_folder(folder_of_tables) as folder:
        for table in tables:
            write_text(folder / f"table{table.number}.md", survey_text.markdown(table))
            write_text(folder / f"table{table.number}.csv", survey_text.comma_separated(table))
            write_text(folder / f"table{table.number}.tex", survey_text.latex(table))
        for drawing in overall(config, frames, tables):
            write_bytes(folder / f"{drawing.name}.png", drawing.png)
            write_text(folder / f"{drawing.name}.svg", standalone(drawing.svg))
    write_text(index, html)
    print("the report: reports/index.html; the survey's tables: reports/survey")


if __name__ == "__main__":
    run_command(page)
