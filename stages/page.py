"""The page over all datasets and the survey's tables: data/results and data/published -> reports."""

from pathlib import Path

from ddpipe.config import load
from ddpipe.files.artifacts import new_folder, write_text
from ddpipe.report import claims, claims_text, pool, published, survey, survey_text
from ddpipe.report.frame import collect_all
from ddpipe.report.page import render
from stages import claim, run_command, settled

PUBLISHED = Path("data/published")


def page() -> None:
    """Write reports/index.html: every dataset that has a result, with tables, pictures and figures, in one file.

    Reads params.yaml, the recipes, data/published and whatever lies in
    data/results; datasets without a result are named as not run yet.

    Writes the survey's Tables 1-4, measured beside published, into the page
    and as reports/survey/table1.md, .csv and .tex to table4, and what it
    claims, decided on both, as claims.md and .csv.
    """
    config, index, folder_of_tables = load(), Path("reports/index.html"), Path("reports/survey")
    claim("page", [index, folder_of_tables])
    settled(config)
    frames = collect_all(config)
    known, printed = claims.read(PUBLISHED), published.read(PUBLISHED)
    tables, ours = survey.tables(printed, frames), pool.measured(config, frames, printed, claims.named(known))
    claimed = claims.evaluate(known, pool.printed(printed), ours)
    html = render(config, frames, tables, claimed, ours)
    with new_folder(folder_of_tables) as folder:
        for table in tables:
            write_text(folder / f"table{table.number}.md", survey_text.markdown(table))
            write_text(folder / f"table{table.number}.csv", survey_text.comma_separated(table))
            write_text(folder / f"table{table.number}.tex", survey_text.latex(table))
        if claimed:
            write_text(folder / "claims.md", claims_text.markdown(claimed))
            write_text(folder / "claims.csv", claims_text.comma_separated(claimed))
    write_text(index, html)
    print("the report: reports/index.html; the survey's tables: reports/survey")


if __name__ == "__main__":
    run_command(page)
