"""reports/index.html: one file with the survey's tables and all data sets that have results, complete without script.

Its parts are made in ddpipe/report/html/. Equal inputs give equal bytes.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from ddpipe.config import Config
from ddpipe.pipeline import courses
from ddpipe.report import figures, seen
from ddpipe.report.claims import Found
from ddpipe.report.drawings import draw, overall
from ddpipe.report.frame import losses
from ddpipe.report.html import claims, datasets, expenses, pictures, scores, strip, survey_tables
from ddpipe.report.html.cards import Cards
from ddpipe.report.html.markup import anchor, drawn
from ddpipe.report.survey import Table

FOLDER = Path(__file__).parent / "html"
Pictures = Mapping[str, pictures.Picture | None]
LEAD = (
    "ddpipe turns raw images into small synthetic training sets with the published methods of dataset distillation, "
    "trains fresh networks on them, and prints what it measured beside what was published."
)


def render(
    config: Config,
    frames: Mapping[str, pd.DataFrame],
    survey: Sequence[Table],
    claimed: Sequence[Found] = (),
    pooled: pd.DataFrame | None = None,
) -> str:
    """The page for every data set in `frames` (frame.collect_all); one without a single result is only named.

    Args:
        survey: the survey's tables filled from `frames`; none leaves their section out.
        claimed: its claims, decided (claims.evaluate); none leaves theirs out.
        pooled: all that was measured (pool.measured), for scores; None leaves these out.

    Raises:
        UserError: a file with losses, or a picture, is damaged.
    """
    known = {dataset: frame for dataset, frame in frames.items() if frame["mean"].notna().any()}
    curves = {dataset: losses(config, frame) for dataset, frame in known.items()}
    carded = [
        cell.measured.evaluation for table in survey for line in table.lines for cell in line.cells if cell.measured
    ]
    stored = pictures.chosen(config, known, [evaluation.partition(".")[0] for evaluation in carded])
    strips = {
        cell: pictures.made(f"course-{cell}", png)
        for cell in config.courses
        if (png := courses.picture(config, cell)) is not None
    }
    seen_of = ((cell, courses.course(config, cell)) for cell in config.courses)
    paths = {cell: list(zip(found.iterations, found.mean, strict=True)) for cell, found in seen_of if found}
    cards = Cards(config, frames, curves, stored, strips, paths)
    sections = {
        "survey": survey_tables.section(survey, cards.card) if survey else "",
        "claims": claims.section(claimed),
        "figures": _figures(config, known, curves, survey, strips),
        "runs": _runs(known, stored, [dataset for dataset in frames if dataset not in known], pooled),
        "costs": expenses.section(known) if known else "",
    }
    names = {
        "survey": "The survey's tables",
        "claims": "Its claims",
        "figures": "Figures",
        "runs": "All runs",
        "costs": "Costs",
    }
    links = "".join(f'<li><a href="#{id_}">{names[id_]}</a></li>' for id_, html in sections.items() if html)
    header = (
        f"<header><h1>ddpipe report</h1><p class=lead>{LEAD}</p>{strip.section(survey, frames)}"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>'
    )
    return _file(
        f"{header}<main>{''.join(sections.values())}</main>{pictures.definitions([*stored.values(), *strips.values()])}"
    )


def _file(body: str) -> str:
    """The whole file. Its policy lets a browser load nothing at all and run this one script only."""
    style, script = ((FOLDER / name).read_text() for name in ("page.css", "page.js"))
    own = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{own}'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>ddpipe report</title>\n<style>{style}</style></head>\n"
        f"<body>\n{body}\n<script>{script}</script>\n"
        "</body></html>\n"
    )


def _figures(
    config: Config,
    frames: Mapping[str, pd.DataFrame],
    curves: Mapping[str, pd.DataFrame],
    survey: Sequence[Table],
    strips: Mapping[str, pictures.Picture],
) -> str:
    look, dpi, parts = figures.looks(config), config.params.report.dpi, []
    found = {"The methods": overall(config, frames, survey) if survey else []}
    for dataset, frame in frames.items():
        beside = seen.draw(config, dataset, frame, look, dpi)
        found[dataset] = [*draw(dataset, frame, curves[dataset], look, dpi), *beside]
    for name, drawings in found.items():
        own = {cell: picture for cell, picture in strips.items() if config.row(cell).dataset == name}
        shown = "".join([*map(drawn, drawings), *(_strip(cell, picture) for cell, picture in own.items())])
        if shown:
            parts.append(f'<h3>{escape(name)}</h3><div class="grid wide">{shown}</div>')
    return (
        f'<section aria-labelledby="figures"><h2 id="figures">Figures</h2>{"".join(parts)}</section>' if parts else ""
    )


def _strip(cell: str, picture: pictures.Picture) -> str:
    text = f"Images of {cell} while they are distilled: a row a class, a column an iteration"
    return pictures.shown(picture, text, f"{escape(text)}.")


def _runs(
    frames: Mapping[str, pd.DataFrame], stored: Pictures, waiting: Sequence[str], pooled: pd.DataFrame | None
) -> str:
    shown = ""
    for dataset, frame in frames.items():
        own = None if pooled is None else pooled[pooled["dataset"] == dataset]
        shown += datasets.section(dataset, frame, stored, "" if own is None else scores.section(own, dataset))
    none = f"<p><b>Not run yet:</b> {escape(', '.join(waiting))}.</p>" if waiting else ""
    links = ", ".join(f'<a href="#{anchor("runs", dataset)}">{escape(dataset)}</a>' for dataset in frames)
    lead = f"<p>Every result in whatever state: {links}.</p>" if frames else ""
    return f'<section aria-labelledby="runs"><h2 id="runs">All runs</h2>{lead}{shown}{none}</section>'
