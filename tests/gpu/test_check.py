"""The check of a card runs to its end where there is none, and finds no difference between the CPU and itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ddpipe import config
from tests.gpu import check, scenes
from tests.tracked import TRACKED

ROOT = Path(__file__).parents[2]


def test_all_sections_run_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.gpu.check", "--device", "cpu", "--tiny", "--seconds", "900"]
    done = subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["errors"] == {} and not [line for line in found["lines"] if "LOOK" in line]
    written = {section.__name__.replace("_", " ") for section in check.SECTIONS}
    assert written <= found.keys() and all(found[name] for name in written)
    assert set(found["experts"]) == set(scenes.EXPERTS) and set(found["evaluation"]) == set(scenes.EVALUATIONS)


def test_a_difference_is_marked(tmp_path: Path) -> None:
    assert check.judged(check.ROUNDING / 2) == "" and "LOOK" in check.judged(2 * check.ROUNDING)


@pytest.mark.parametrize("target", (Path(__file__).parent / "cells.txt").read_text().split())
def test_the_cells_that_are_run_first_are_rows(target: str) -> None:
    stage, _, cell = target.partition("@")
    assert stage == "evaluate" and cell in config.load(TRACKED).rows
