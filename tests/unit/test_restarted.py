"""When LD's networks are replaced, and how long users of a set are told to train."""

import math

import pytest
import torch

from ddpipe import config
from ddpipe.randomness import generator
from ddpipe.settings.students.restarted import RestartedStudents
from ddpipe.students.restarted import Patience, Restarted
from tests.tracked import TRACKED


def noted(patience: int, errors: list[float]) -> Patience:
    rule = Patience(patience)
    for error in errors:
        rule.note(torch.tensor(error, dtype=torch.float64))
    return rule


def test_a_network_is_replaced_once_its_last_errors_have_not_fallen_for_longer_than_the_patience():
    """Sums of two: 17 after the second step, 13, 8 after the fourth, which is the least; then three that are none."""
    errors = [9.0, 8.0, 5.0, 3.0, 6.0, 7.0]
    rule = noted(2, errors)
    assert (rule.steps, rule.restarts, list(rule.used)) == (6, 0, [])
    rule.note(torch.tensor(1.5))
    assert rule.restarts == 1 and list(rule.used) == [4] and rule.length() == 4
    assert rule.steps == 0 and rule.lowest == math.inf and not rule.errors, "the next begins anew"


def test_equal_sums_are_no_improvement():
    assert list(noted(2, [5.0] * 5).used) == [2]


def test_before_one_was_replaced_the_present_one_tells():
    assert noted(3, []).length() == 0 and noted(3, [1.0, 2.0]).length() == 2


def test_a_length_that_no_network_confirmed_is_told(capsys: pytest.CaptureFixture[str]):
    chosen = RestartedStudents(name="restarted", optimizer="adam", betas=(0.9, 0.999), patience=2)
    students = Restarted(chosen, torch.nn.Linear(1, 1))
    for error in (9.0, 8.0, 5.0):
        students.rule.note(torch.tensor(error))
    assert students.hints(None) == {"steps": torch.tensor(3.0)}
    assert "no network stopped gaining, so hint steps, 3, is only how far the first one came" in capsys.readouterr().err
    for error in (6.0, 7.0, 8.0, 9.0):
        students.rule.note(torch.tensor(error))
    assert students.hints(None) == {"steps": torch.tensor(4.0)} and capsys.readouterr().err == ""


@pytest.mark.parametrize("cell", ["hard", "ridge-hard"])
@pytest.mark.parametrize("ipc", [1, 10, 50])
def test_rivals_run_long_enough_to_replace_three_networks(cell: str, ipc: int):
    """Twelve times the patience each, which digits took at most."""
    recipe = config.load(TRACKED).recipes["ld"]
    found = config.resolve([("parts", recipe.parts), *recipe.layers(cell, ipc)])
    assert found.iterations > 3 * 12 * found.students.patience


def test_the_last_three_count():
    rule = Patience(1)
    for best in (9, 1, 2, 5):  # errors that fall until step `best`
        for error in [*range(best, 0, -1), best, best]:
            rule.note(torch.tensor(float(error)))
    assert list(rule.used) == [1, 2, 5] and rule.length() == 2, "the whole part of their mean"


@pytest.mark.parametrize("cut", [0, 1, 4, 6, 11, 30])
def test_a_rule_survives_its_state(cut):
    errors = (100 * torch.rand(60, generator=generator("errors"))).tolist()
    unbroken, one, other = noted(3, errors), noted(3, errors[:cut]), Patience(3)
    other.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    for error in errors[cut:]:
        other.note(torch.tensor(error, dtype=torch.float64))
    for rule in (unbroken, other):
        rule.read()
    assert unbroken.restarts > 2 and vars(other) == vars(unbroken)


class Eager(Patience):
    """Reads every error rate at once."""

    earliest = 1


@pytest.mark.parametrize("patience", [1, 2, 5, 20])
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3])
def test_error_rates_are_read_seldom_and_no_network_is_replaced_later_for_that(patience, slope):
    seldom, eager, reads = Patience(patience), Eager(patience), 0
    noise = 100 * torch.rand(400, generator=generator("errors"))
    for number, error in enumerate(noise - slope * torch.arange(400.0)):
        waiting = len(seldom.unread)
        seldom.note(error)
        eager.note(error)
        reads += len(seldom.unread) <= waiting
        assert (seldom.steps, seldom.restarts, seldom.used) == (eager.steps, eager.restarts, eager.used), number
        assert seldom.length() == eager.length()
    assert eager.restarts > 0 and reads < 400 / (1 + patience / 2)
