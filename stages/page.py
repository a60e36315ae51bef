"""The page over all datasets and the survey's tables: data/results and data/published -> reports."""

from pathlib import Path

from ddpipe.config import load
from ddpipe.files.artifacts import new_folder, write_bytes, write_text
from ddpipe.report import claimed, claims, claims_text, pool, published, reproducibility, survey, survey_text
from ddpipe.report.drawings import overall
from ddpipe.report.figures.vector import standalone
from ddpipe.report.frame import collect_all
from ddpipe.report.page import render
from stages import claim, run_command, settled

PUBLISHED = Path("data/published")


def page() -> None:
    """Write reports/index.html: every dataset that has a result, with tables, pictures and figures, in one file.

    Reads params.yaml, the recipes, data/published and whatever lies in
    data/results; datasets without a result are named as not run yet.

    Writes the survey's Tables 1-4, measured beside published, into the page
    and as reports/survey/table1.md, .csv and .tex to table4; what it claims,
    decided on both, as claims.md and .csv; the tree of the methods as
    taxonomy.png and .svg; and REPRODUCIBILITY.md, what stands behind each.
    """
    config, index, folder_of_tables = load(), Path("reports/index.html"), Path("reports/survey")
    audit = Path("REPRODUCIBILITY.md")
    claim("page", [index, folder_of_tables, audit])
    settled(config)
    frames = collect_all(config)
    known, printed = claimed.read(PUBLISHED), published.read(PUBLISHED)
    tables, ours = survey.tables(printed, frames), pool.measured(config, frames, printed, claimed.named(known))
    decided = claims.evaluate(known, pool.printed(printed), ours)
    html = render(config, frames, tables, decided, ours)
    with new_folder(folder_of_tables) as folder:
        for table in tables:
            write_text(folder / f"table{table.number}.md", survey_text.markdown(table))
            write_text(folder / f"table{table.number}.csv", survey_text.comma_separated(table))
            write_text(folder / f"table{table.number}.tex", survey_text.latex(table))
        for drawing in overall(config, frames, tables):
            write_bytes(folder / f"{drawing.name}.png", drawing.png)
            write_text(folder / f"{drawing.name}.svg", standalone(drawing.svg))
        write_text(folder / "summary.md", f"{survey_text.summary(tables)}\n")
        if decided:
            write_text(folder / "claims.md", claims_text.markdown(decided))
            write_text(folder / "claims.csv", claims_text.comma_separated(decided))
    write_text(audit, reproducibility.document(config, frames, tables))
    write_text(index, html)
    print("the report: reports/index.html; the survey's tables: reports/survey")


if __name__ == "__main__":
    run_command(page)
