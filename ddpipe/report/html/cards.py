"""The card of a printed cell: what it is worth, and how to make or repeat it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape

import pandas as pd

from ddpipe.config import Config
from ddpipe.pipeline import results
from ddpipe.publication.matching import table_of
from ddpipe.report import survey, survey_text
from ddpipe.report.best import excess
from ddpipe.report.frame import key_of
from ddpipe.report.html import plots
from ddpipe.report.html.markup import badge, bullets, facts, folded
from ddpipe.report.html.pictures import Picture, shown
from ddpipe.report.html.survey_tables import row_address
from ddpipe.report.survey import DATASETS, NETWORKS, Cell, Line, Measured, Table
from ddpipe.report.tables import heading, percent


@dataclass(frozen=True)
class Cards:
    """What the cards are made from.

    `frames` and `losses` are by data set, `pictures` of finished sets by cell; so are `strips`, pictures of sets while
    they are distilled, and `courses`, the (iteration, accuracy in percent) of a set that was looked at meanwhile.
    """

    config: Config
    frames: Mapping[str, pd.DataFrame]
    losses: Mapping[str, pd.DataFrame]
    pictures: Mapping[str, Picture | None]
    strips: Mapping[str, Picture] = field(default_factory=dict)
    courses: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)

    @cached_property
    def rows(self) -> dict[str, dict]:
        """Every evaluation of the grid, as Measured calls it."""
        return {key_of(row).name: row for frame in self.frames.values() for row in frame.to_dict("records")}

    @cached_property
    def excess(self) -> dict[str, str]:
        """In words what a cell's set is worth that stores more than its images per class; "" for the others."""
        return {
            cell: words
            for frame in self.frames.values()
            for cell, words in zip(frame["cell"], excess(frame), strict=True)
        }

    @cached_property
    def gridded(self) -> dict[tuple[str, str, str, str], list[dict]]:
        """The evaluations that stand for a printed cell: (method, data set, IPC, network) -> rows."""
        found: dict[tuple[str, str, str, str], list[dict]] = {}
        for dataset, frame in self.frames.items():
            for row in frame[frame["survey_network"] != ""].to_dict("records"):
                found.setdefault((row["survey_method"], dataset, row["ipc"], row["survey_network"]), []).append(row)
        return found

    def card(self, table: Table, line: Line, cell: Cell) -> str:
        """A small card, and where there is a measured value a full one."""
        own = cell.measured
        worth = badge(own.state) if own else survey_text.measured(cell) or "not in the grid"
        network = f", {NETWORKS.get(cell.network, cell.network)}" if table.number in ("3", "4") else ""
        place = f"{DATASETS.get(cell.dataset, cell.dataset)}, {heading(cell.ipc)}{network}"
        said = {
            "Survey": _cited(survey_text.printed(cell), cell.published.note if cell.published.doubtful else ""),
            "Authors": escape(percent(cell.published.source_mean, cell.published.source_std)),
            "Measured": _measured(own) if own else worth,
        }
        close = f'<a class=close href="#{row_address(table, line)}" aria-label="Close the card">×</a>'
        title = f"<h4>{escape(line.label)} <small>{escape(place)}</small></h4>"
        body = self._full(line, cell, own, said) if own else facts(said) + self._commands(line, cell)
        return f"<article class=card>{close}{title}{body}</article>"

    def _stage(self, row: Mapping) -> str:
        """What DVC and `ddpipe run` call this evaluation."""
        return self.config.stage(key_of(row))

    def _commands(self, line: Line, cell: Cell) -> str:
        """How to repeat what was measured, how to make the published cell, and what of its numbers is ours."""
        said = {}
        if cell.measured:
            row = self.rows[cell.measured.evaluation]
            said = {"Again": _code("run", self._stage(row)), "Its settings": _code("explain", row["cell"])}
        stands = self.gridded.get((line.method, cell.dataset, cell.ipc, cell.network), [])
        exact = next((row for row in stands if row["method"] == line.method), None)
        if exact and not exact["state"]:
            stage = self._stage(exact)
            said |= {"As published": _code("run", stage), "What it costs": _code("plan", stage)}
        recipe = self.config.recipes.get(line.method)
        if exact and recipe:
            table, _ = table_of(self.config.network(exact["network"])) or (None, None)
            doubts = recipe.doubts(self.config.row(exact["cell"]).cell, table)
            said["Unverified numbers"] = escape(" ".join(doubts))
        return facts(said)

    def _full(self, line: Line, cell: Cell, own: Measured, said: Mapping[str, str]) -> str:
        row = self.rows[own.evaluation]
        path = f"{cell.dataset}/{own.evaluation}.json"
        name = f"{row['label']} on {cell.dataset}, {heading(cell.ipc)}"
        verdict = survey_text.judged(cell)
        about = {
            "State": badge(own.state) + (f": {escape(own.why)}" if own.why else ""),
            **said,
            "Stored": self.excess.get(row["cell"], ""),
            "Verdict": f"<span class={own.verdict}>{escape(verdict)}</span>" if verdict else "",
        }
        parts = [facts(about), self._dots(cell, own, row, name), self._course(cell.dataset, row["cell"], name)]
        return "".join([*parts, self._commands(line, cell), facts(_provenance(row, path)), self._notes(line)])

    def _dots(self, cell: Cell, own: Measured, row: Mapping, name: str) -> str:
        """The single accuracies, and what they are compared with."""
        result = results.read(self.config, key_of(row))
        if result is None:
            return ""
        target, spread = survey.reference(cell.published)
        word = "survey" if target == cell.published.mean else "authors"
        text = f"The {result.n} accuracies of {name}, a row a set, {percent(own.mean, own.std)} % on average"
        plot = plots.dots(result.accuracies, result.mean, target, spread, word, text)
        caption = f"{_many(result.sets, 'set')} (a row each) x {_many(result.networks, 'network')}, "
        caption += f"{row['network']} under {row['protocol']}. Line: their mean"
        caption += f"; band: {word}." if target == target else "."
        return f"<figure>{plot}<figcaption>{escape(caption)}</figcaption></figure>"

    def _course(self, dataset: str, cell: str, name: str) -> str:
        """The set before, while and after it was distilled, as far as there are pictures, its loss and accuracy."""
        parts = []
        if strip := self.strips.get(cell):
            parts.append(
                shown(strip, f"Images of {name} while they are distilled", "From the first to the last state.")
            )
        if picture := self.pictures.get(cell):
            parts.append(shown(picture, f"The images of {name}: class by class", "The finished set."))
        curves = self.losses[dataset]
        own = curves[curves["cell"] == cell]
        if len(own):
            points = list(zip(own["iteration"].astype(float), own["loss"].astype(float), strict=True))
            parts.append(_curve(points, f"The loss of {name}", "Loss, mean over the sets."))
        if points := list(self.courses.get(cell, ())):
            parts.append(_curve(points, f"The accuracy of {name}", "Accuracy in percent of set 0."))
        return "".join(parts)

    def _notes(self, line: Line) -> str:
        recipe = self.config.recipes.get(line.method)
        if recipe is None:
            return ""
        paper = f"<p class=soft>{escape(recipe.paper)}</p>"
        return paper + (folded("Notes of the recipe", bullets(recipe.notes)) if recipe.notes else "")


def _curve(points: Sequence[tuple[float, float]], text: str, caption: str) -> str:
    told = f"{text} over iterations, from {points[0][1]:.4g} to {points[-1][1]:.4g}"
    return f"<figure>{plots.curve(points, told)}<figcaption>{escape(caption)}</figcaption></figure>"


def _cited(value: str, note: str) -> str:
    return escape(value) + (f"<br><small>{escape(note)}</small>" if note else "")


def _measured(own: Measured) -> str:
    return f"<b>{escape(percent(own.mean, own.std))}</b>"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")


def _code(command: str, target: str) -> str:
    return f"<code>ddpipe {command} {escape(target)}</code>"


def _provenance(row: Mapping, path: str) -> dict[str, str]:
    """Where the number comes from; columns that a ledger does not have are left out."""

    def seconds(name: str) -> str:
        value = row.get(name, math.nan)
        return f"{value:,.0f} s" if value == value else ""

    on = f" on {escape(row['spent_on'])}" if row.get("spent_on") else ""
    spent = {
        "Sets and experts": spent + on if (spent := seconds("spent")) else "",
        "Sets, by the clock": seconds("distill_seconds"),
        "Experts": seconds("experts_seconds"),
        "Evaluation": seconds("eval_seconds"),
    }
    words = {"Device": "device", "Hardware": "hardware", "Commit": "commit", "When": "when", "Settings": "digest"}
    return {
        "Result": f'<a href="../data/results/{escape(path)}">{escape(path)}</a>',
        **spent,
        **{name: escape(str(row[column])) for name, column in words.items() if row.get(column)},
    }
