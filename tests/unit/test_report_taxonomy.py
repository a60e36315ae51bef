"""The survey's tree from the recipes: each method where the survey has it, its best state and its printed cells."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import pytest

from ddpipe.config import Config, load
from ddpipe.report import published, survey
from ddpipe.report.drawings import overall
from ddpipe.report.figures.taxonomy import SECTIONS, Method, methods, taxonomy
from ddpipe.report.figures.vector import svg
from ddpipe.states import State
from tests.tracked import TRACKED

SCHEMES = {"BPTT": "3.1", "KRR": "3.2", "GM": "4.1", "TM": "4.2", "DM": "4.3", "-": "6"}  # of the survey's Table 1


@pytest.fixture(scope="module")
def config() -> Config:
    return load(TRACKED)


def frames(*results: tuple[str, str, str]) -> dict[str, pd.DataFrame]:
    """Of MNIST: (cell, state, the survey's name of the network)."""
    rows = [
        {"cell": cell, "state": state, "survey_network": network, "ipc": cell.split("-")[-1], "network": "n"}
        | {
            "survey_method": cell.split("-")[0],
            "protocol": "p",
            "mean": 50.0,
            "std": 1.0,
            "n": 5,
            "why": "",
            "differences": 0,
        }
        | {"selection": False, "distilled": True, "worth": 1.0, "data": "mnist"}
        for cell, state, network in results
    ]
    columns = [
        "cell",
        "state",
        "survey_network",
        "ipc",
        "network",
        "survey_method",
        "protocol",
        "mean",
        "std",
        "n",
        "why",
        "differences",
        "selection",
    ]
    columns += ["distilled", "worth", "data"]
    return {"mnist": pd.DataFrame(rows, columns=columns).astype({"selection": bool, "distilled": bool})}


def tree(config: Config, *results: tuple[str, str, str]) -> dict[str, list[Method]]:
    measured = frames(*results)
    return methods(config, measured, survey.tables(published.read(TRACKED / "data/published"), measured))


def placed(config: Config) -> Iterator[tuple[str, str, Method]]:
    for section, members in tree(config).items():
        yield from ((section, method.label, method) for method in members)


def test_every_recipe_stands_once_and_where_the_survey_prints_it(config):
    found = {label: (section, bool(method.factors)) for section, label, method in placed(config)}
    assert len(found) == sum(1 for _ in placed(config)) == len(config.recipes)
    table = published.read(TRACKED / "data/published")
    printed = table[table["scheme"].isin(SCHEMES)]
    told = {row["label"]: (SCHEMES[row["scheme"]], row["factorized"] == "yes") for row in printed.to_dict("records")}
    assert told.items() <= found.items()
    assert {found[label][0] for label in ("DD", "SLDD", "GTN")} == {"3.1"}
    assert {label for label, (_, factorised) in found.items() if factorised} == {
        *("RTP", "GTN", "IDC", "Acc-DD", "HaBa", "KFS", "IT-GAN")
    }


def test_a_name_has_its_best_state_and_squares_are_printed_cells(config):
    found = tree(
        config,
        ("dm-mnist-1", State.REDUCED, "convnet"),
        ("dm-mnist-10", State.UNVERIFIED, "convnet"),
        ("dm-mnist-50", State.OWN, ""),
        ("dc-mnist-1", "", "convnet"),
    )
    dm = next(method for method in found["4.3"] if method.label == "DM")
    dc = next(method for method in found["4.1"] if method.label == "DC")
    assert dm.state == State.UNVERIFIED and dc.state == ""
    assert dm.cells[:3] == (State.UNVERIFIED, State.REDUCED, "")
    assert dc.cells[:2] == (survey.MISSING, "")
    table = published.read(TRACKED / "data/published")
    assert len(dm.cells) == table.loc[table["method"] == "dm", "mean"].notna().sum()


def test_the_tree_names_its_sections_and_methods(config):
    measured = frames(("dm-mnist-1", State.PUBLISHED, "convnet"))
    (drawing,) = overall(config, measured, survey.tables(published.read(TRACKED / "data/published"), measured))
    words = re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg)
    titles = {f"{number}  {title}" for number, title in SECTIONS.items() if number}
    assert drawing.name == "taxonomy" and titles <= set(words) and SECTIONS[""] not in words
    assert {"● DM", "DC", "codes, decoders: hallucinator"} <= set(words)
    assert min(map(float, re.findall(r"font-size:([\d.]+)px", drawing.svg))) * 345 / 338 >= 9
    assert len(drawing.svg) < 60_000


def test_what_the_survey_does_not_know_stands_apart(config):
    odd = config.recipes["dm"].model_copy(update={"label": None, "parts": {"kind": "distillation"}})
    found = methods(replace(config, recipes={"odd": odd}), {}, [])
    assert {section: members for section, members in found.items() if members} == {"": [Method("odd", "", "", ())]}
    assert "Other objectives" in svg(taxonomy(found), "a", "b", "c")
