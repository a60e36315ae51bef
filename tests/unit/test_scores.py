"""Label-robust and augmentation-robust scores by hand, partners found by settings, transfer, what a point costs."""

import math
from typing import Any

import pandas as pd
import pytest

from ddpipe import config
from ddpipe.report import pool, scores, scores_text
from ddpipe.report.html.scores import section
from tests.tracked import TRACKED

NO_DIFFERENCE = (1 - math.exp(-1)) / (math.e - math.exp(-1))


def row(cell: str, mean: float, protocol: str = "short", **changed: Any) -> dict[str, Any]:
    """One accuracy as pool.measured tells it; `short` augments, `plain` does not, all else of them is equal."""
    method, ipc = cell.rsplit("-", 1)
    of = {"cell": cell, "method": method, "label": method.upper(), "ipc": ipc, "network": "net", "protocol": protocol}
    of |= {"mean": mean, "rule": method if method in ("random", "whole") else "", "hard": True, "plain": "{}"}
    of |= {"augment": "none" if protocol == "plain" else "flip", "spent": 10.0}
    return of | {"baseline": bool(of["rule"])} | changed


def scored(*rows: dict[str, Any]) -> pd.DataFrame:
    return scores.scores(pd.DataFrame(rows)).set_index(["cell", "protocol"])


def test_no_difference_is_0_269():
    assert scores.label_robust(0.0, 0.0) == scores.augmentation_robust(0.0, 0.0) == pytest.approx(NO_DIFFERENCE)
    assert round(NO_DIFFERENCE, 3) == 0.269
    assert scores.normalised(-1.0) == 0.0 and scores.normalised(1.0) == 1.0


def test_scores_by_hand():
    hlr, ior = scores.hard_label_recovery(0.9, 0.6), scores.improvement_over_random(0.7, 0.5)
    assert (hlr, ior) == (pytest.approx(0.3), pytest.approx(0.2))
    assert scores.label_robust(hlr, ior) == pytest.approx((math.exp(-0.05) - 0.36787944) / 2.35040239)
    assert scores.label_robust(hlr, ior, weight=1.0) == scores.normalised(ior)
    assert scores.augmentation_robust(0.2, 0.1) == pytest.approx(scores.normalised(0.15))
    assert 0.22 < scores.label_robust(hlr, ior) < 0.28  # fractions: percent would give e^-5


def test_an_evaluation_with_all_its_partners():
    found = scored(
        row("whole-all", 90.0),
        row("random-1", 50.0),
        row("dm-1", 70.0),
        row("random-1", 45.0, "plain"),
        row("dm-1", 60.0, "plain"),
    )
    own = found.loc["dm-1", "short"]
    assert (own["whole"], own["random"], own["without"]) == (90.0, 50.0, "plain")
    assert own["hlr"] == pytest.approx(0.2) and own["ior"] == pytest.approx(0.2)
    assert own["lrs"] == pytest.approx(NO_DIFFERENCE)
    assert own["ars"] == pytest.approx(scores.normalised((0.2 + 0.15) / 2))
    assert own["seconds_per_point"] == 0.5  # ten seconds for twenty points
    plain = found.loc["dm-1", "plain"]
    assert math.isnan(plain["lrs"]) and math.isnan(plain["ars"]) and plain["ior"] == pytest.approx(0.15)


@pytest.mark.parametrize(
    "changed",
    [{"plain": '{"epochs": 2}'}, {"network": "other"}, {"ipc": "10"}, {"augment": "crop"}],
)
def test_what_differs_in_more_is_no_partner(changed):
    found = scored(row("whole-all", 90.0), row("random-1", 50.0, **changed), row("dm-1", 70.0)).loc["dm-1", "short"]
    assert math.isnan(found["random"]) and math.isnan(found["ior"]) and math.isnan(found["lrs"])
    assert math.isnan(found["seconds_per_point"]) and found["hlr"] == pytest.approx(0.2)


def test_soft_labels_count_for_improvement_and_hard_ones_for_recovery():
    rows = [row("whole-all", 90.0), row("random-1", 50.0), row("ld-1", 80.0, hard=False)]
    assert math.isnan(scored(*rows).loc["ld-1", "short"]["hlr"])
    own = scored(*rows, row("ld-1", 60.0, "hard")).loc["ld-1", "short"]
    assert own["hlr"] == pytest.approx(0.3) and own["ior"] == pytest.approx(0.3)


def test_a_point_that_is_none_costs_nothing_that_could_be_said():
    found = scored(row("random-1", 50.0), row("dm-1", 50.0), row("dc-1", 60.0, spent=math.nan))
    assert found["seconds_per_point"].isna().all()


def test_random_of_the_very_protocol_comes_first():
    found = scored(row("random-1", 40.0, "another"), row("random-1", 50.0), row("dm-1", 70.0))
    assert found.loc["dm-1", "short"]["random"] == 50.0


def test_transfer_matrices_have_sets_and_networks():
    rows = [row("dm-1", 70.0), row("dm-1", 60.0, network="other"), row("dc-1", 65.0), row("dc-10", 80.0)]
    (key, matrix), *others = scores.transfer(pd.DataFrame(rows)).items()
    assert key == ("short", "1") and not others
    assert matrix.loc["DM"].tolist() == [70.0, 60.0]
    assert matrix.loc["DC", "net"] == 65.0 and math.isnan(matrix.loc["DC", "other"])


def test_reports_have_what_there_is():
    rows = pd.DataFrame(
        [row("whole-all", 90.0), row("random-1", 50.0), row("dm-1", 70.0), row("dm-1", 60.0, network="b")]
    )
    text = scores_text.markdown(rows, "digits: scores")
    assert "| DM | 1 | net | short | - | 0.200 | 0.200 | 0.269 | - | 0.50 |" in text
    assert "## Sets on networks, IPC 1, protocol short: accuracy in %" in text and "| DM | 70.0 | 60.0 |" in text
    html = section(rows, "digits")
    assert html.count("<table") == 3 and "<td>0.269</td>" in html
    nothing = rows[rows["baseline"] & (rows["rule"] == "whole")]
    assert section(nothing, "digits") == "" and "No set has" in scores_text.markdown(nothing, "digits")


def test_targets_are_one_hot_where_nothing_of_them_is_learned_or_assigned():
    project = config.load(TRACKED)
    told = {cell: pool.one_hot(project.resolved(cell)) for cell in project.rows if "digits" in cell}
    assert all(told[f"{method}-digits-1"] for method in ("random", "dm", "dc", "mtt", "tesla"))
    assert not any(told[f"{method}-digits-1"] for method in ("kip", "kip-labels", "ld", "sldd", "tesla-soft", "frepo"))


def test_digits_have_protocols_that_differ_in_augmentation_alone():
    project = config.load(TRACKED)
    own = {name: project.protocol(name, "digits").model_dump() for name in ("short", "short-hard", "short-plain")}
    less = [{key: value for key, value in each.items() if key not in pool.HIDDEN} for each in own.values()]
    assert less[0] == less[1] == less[2]
    assert own["short-plain"]["augment"] == "none" and own["short"]["augment"] != "none"
