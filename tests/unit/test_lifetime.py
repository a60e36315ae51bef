"""Loops that a network's last accuracies end, and at the latest their own numbers: CAFE's, without its networks."""

from collections.abc import Iterator

import pytest
import torch
from pydantic import ValidationError

from ddpipe.randomness import Streams
from ddpipe.settings.base import FILE
from ddpipe.settings.students.trained import TrainedStudents
from ddpipe.students.lifetime import Lifetime, spread

RULE = {"window": 3, "probe": 4, "settled": 0.05, "moved": 0.1}


def config(**more) -> TrainedStudents:
    numbers = {"name": "trained", "outer_loop": 5, "inner_loop": 6, "until": RULE}
    return TrainedStudents.model_validate(numbers | more)


class Scripted(Lifetime):
    """A life whose accuracies are given; `looked` counts those that were asked for, `drawn` the draws of images."""

    def __init__(self, chosen: TrainedStudents, accuracies: list[float]):
        super().__init__(chosen)
        self.accuracies, self.looked, self.drawn = iter(accuracies), 0, 0

    def rows(self, rng):
        self.drawn += 1
        return torch.tensor([next(self.accuracies)])

    def measured(self, network, rows):
        self.looked += 1
        return float(rows)


def trained(life: Lifetime) -> list[int]:
    return list(life.training(None, Streams("none")))  # type: ignore[arg-type]


def served(accuracies: list[float], **more) -> tuple[Scripted, int]:
    """A network that was begun and serves until it is over: its life, and how often it served."""
    life = Scripted(config(**more), accuracies)
    assert life.over(None, Streams("none"))
    life.begin()
    life.served = 1
    while not life.over(None, Streams("none")):
        life.served += 1
    return life, life.served


@pytest.mark.parametrize(
    ("accuracies", "serves", "capped"),
    [
        ([0.5, 0.52, 0.54], 3, 0),  # together at once
        ([0.1, 0.3, 0.5, 0.52, 0.54], 5, 0),  # at the last moment: the rule's doing, not the cap's
        ([0.1, 0.3, 0.31, 0.32], 4, 0),  # the first one left the window
        ([0.1, 0.2, 0.3, 0.4, 0.5], 5, 1),
        ([0.5, 0.55, 0.5, 0.55, 0.5], 5, 1),  # as far apart as the bound is not closer
    ],
)
def test_a_network_goes_once_its_accuracies_lie_close_together(accuracies, serves, capped):
    life, found = served(accuracies)
    assert (found, life.capped) == (serves, capped)


@pytest.mark.parametrize(
    ("accuracies", "epochs", "unmoved", "looked"),
    [
        ([0.1, 0.3, 0.9], 3, 0, 2),  # decided after two, gone on with until the window is full
        ([0.1, 0.12, 0.3], 3, 0, 3),
        ([0.1, 0.15, 0.16, 0.3], 4, 0, 4),
        ([0.1, 0.15, 0.16, 0.17, 0.18, 0.4], 6, 0, 6),  # in the last epoch
        ([0.1, 0.12, 0.14, 0.16, 0.18, 0.2], 6, 1, 6),  # never 0.1 within a window of three
    ],
)
def test_a_training_ends_once_its_accuracies_lie_far_apart(accuracies, epochs, unmoved, looked):
    life = Scripted(config(), accuracies)
    life.begin()
    life.served = 1
    assert trained(life) == list(range(epochs))
    assert (life.unmoved, life.trainings, life.looked, life.drawn) == (unmoved, 1, looked, epochs)


def test_passes_are_counted_on_over_trainings_and_begin_anew_with_a_network():
    life = Scripted(config(), [0.1, 0.3, 0.3, 0.1, 0.1, 0.1, 0.5, 0.1, 0.3, 0.3])
    life.begin()
    life.served = 1
    assert trained(life) == [0, 1, 2]
    life.served = 2
    assert trained(life) == [3, 4, 5, 6]
    life.begin()
    life.served = 1
    assert trained(life) == [0, 1, 2] and life.number == 1


def test_without_a_rule_nothing_is_drawn_and_the_numbers_are_lengths():
    life = Scripted(config(until=None, inner_loop=(4, 2)), [])
    life.begin()
    for serves, passes in ((1, [0, 1, 2, 3]), (2, [4, 5]), (3, [6, 7])):
        life.served = serves
        assert not life.over(None, Streams("none")) and trained(life) == passes
    life.served = 5
    assert life.over(None, Streams("none")) and life.hints() == {} and config(until=None).hints == {}


def test_hints_say_how_often_a_cap_ended_a_loop():
    life, _ = served([0.1, 0.2, 0.3, 0.4, 0.5])
    life.begin()
    found = {name: float(value) for name, value in life.hints().items()}
    assert found == {"networks": 1, "networks_capped": 1, "trainings": 0, "trainings_capped": 0}
    assert config().hints == dict.fromkeys(found, "")


def test_a_state_holds_the_accuracies_exactly():
    life, _ = served([0.1 + 0.2, 1 / 3, 1 / 7, 0.9, 0.5])
    other = Lifetime(config())
    other.load_state_dict(life.state_dict())
    assert vars(other) == {name: value for name, value in vars(life).items() if name in vars(other)}
    assert len(Lifetime(config()).state_dict()["seen"]) == 0


def test_spread():
    assert spread([]) == spread([0.4]) == 0.0 and spread([0.5, 0.25, 1.0]) == 0.75


def numbers(**more) -> Iterator[dict]:
    said = {"name": "trained", "outer_loop": 5, "inner_loop": 6, "lr": 0.1, "momentum": 0.0, "batch": 4}
    yield said | {"augment": "none", "until": RULE} | more


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"outer_loop": 2}, "until.window: 3 accuracies are never seen within outer_loop: 2.* lower it to 2"),
        ({"inner_loop": [6, 1]}, "until.window: 3 accuracies are never seen within inner_loop: 1.* lower it to 1"),
        ({"until": {"settled": 0.1, "moved": 0.1}}, "this key is missing"),
    ],
)
def test_what_a_file_may_not_say(more, complaint):
    (said,) = numbers(**more)
    with pytest.raises(ValidationError, match=complaint):
        TrainedStudents.model_validate(said, context=FILE)


def test_students_without_a_rule_are_dumped_as_ever():
    assert "until" not in TrainedStudents(name="trained").model_dump()
