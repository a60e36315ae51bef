"""Runs that end by their loss on real training images."""

import itertools

import pytest
import torch

from ddpipe import settings
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.distillation.running import run_to_end
from ddpipe.distillation.stop import Stop
from ddpipe.errors import UserError
from ddpipe.progress import Progress
from ddpipe.settings.reading import validate
from tests.contracts.compositions import STUDENTS, advanced, of, run_of
from tests.contracts.test_parts import continues_bit_identically

RULE = {"every": 1, "patience": 2, "per_class": 2, "students": {"name": "ensemble", "networks": 2}}
LOSSES = [3.0, 2.0, 2.5, 2.0, 1.0]  # the fourth is no smaller than the second, so there is no fifth


def chosen(**rule) -> settings.Distillation:
    return of("ridge-platt", "ensemble", start="transformed", stop=RULE | rule, iterations=8)


def scripted(monkeypatch: pytest.MonkeyPatch, losses=LOSSES) -> None:
    given = iter(losses)
    monkeypatch.setattr(Stop, "loss", lambda self, synthetic: next(given))


def test_it_ends_once_no_loss_was_smaller_and_hands_over_the_best(monkeypatch):
    scripted(monkeypatch)
    run, states = run_of(chosen()), []
    while run.iteration < run.iterations:
        advanced(run, 1)
        states.append(run.synthetic.decode().images.detach().clone())
    assert run.iteration == run.iterations == 4
    run.finish()
    assert torch.equal(run.synthetic.decode().images, states[1]) and not torch.equal(states[1], states[3])
    assert len(run.history) == 4 and bool((run.history > 0).all())


def test_it_looks_every_so_often_and_runs_to_the_end_while_losses_fall(monkeypatch):
    scripted(monkeypatch, [5.0, 4.0, 3.0, 2.0])
    run = run_of(chosen(every=2))
    while run.iteration < run.iterations:
        advanced(run, 1)
    assert (run.iteration, run.stop.seen, run.stop.when, len(run.history)) == (8, 8, 8, 8)


def test_losses_that_are_no_numbers_end_it_without_a_better_set(monkeypatch):
    scripted(monkeypatch, itertools.repeat(float("nan")))
    run = run_of(chosen())
    while run.iteration < run.iterations:
        advanced(run, 1)
    last = run.synthetic.decode().images.detach().clone()
    run.finish()
    assert run.iteration == 2 and torch.equal(run.synthetic.decode().images, last)


def test_looking_changes_nothing_but_the_end():
    """Its images and networks are its own, the same each time: the run draws what it would draw without."""
    plain, stopped = run_of(of("ridge-platt", "ensemble", start="transformed")), run_of(chosen(patience=8))
    advanced(plain, 4)
    advanced(stopped, 4)
    assert torch.equal(plain.synthetic.decode().images, stopped.synthetic.decode().images)
    assert stopped.stop.loss(stopped.synthetic) == stopped.stop.loss(stopped.synthetic)
    assert 0 < stopped.stop.least < float("inf") and stopped.rng.generators.keys() == plain.rng.generators.keys()
    rows = stopped.stop.rows
    assert torch.bincount(stopped.real.labels[rows]).tolist() == [2, 2, 2] and len(rows.unique()) == 6


def test_a_killed_run_ends_where_an_unbroken_one_does(tmp_path, monkeypatch):
    """With the rule's memory in the checkpoint; a checkpoint behind the end is not gone on from."""
    state = continues_bit_identically(chosen(patience=8), "instance", tmp_path)
    assert {"stop/least", "stop/counts", "stop/0", "stop/1"} <= state.keys()
    how = settings.Run(checkpoint_every=1, checkpoint_seconds=0.0)
    ends = []
    for killed in (None, 1, 3, 4):
        scripted(monkeypatch)
        store = Checkpoints(tmp_path / str(killed), "print")
        run = run_of(chosen())
        if killed:
            advanced(run, killed)
            store.write("piece", run.state_dict(), cost={"seconds": 0.0, "resumed_at": [], "device": "before"})
            run = run_of(chosen())
        with Progress("run", run.iterations) as progress:
            cost = run_to_end(run, store, "piece", "run", how, torch.device("cpu"), progress)
        run.finish()
        assert run.iteration == 4 and cost["resumed_at"] == ([killed] if killed else [])
        ends.append((run.synthetic.decode().images.detach(), run.history))
    for images, history in ends[1:]:
        assert torch.equal(images, ends[0][0]) and torch.equal(history, ends[0][1])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"objective": {"name": "distribution"}, "students": STUDENTS["fresh"]}, "stop: objective 'distribution' has"),
        (
            {"stop": RULE | {"students": {"name": "fresh"}}},
            "stop.students: 'fresh' gives no kernel, which objective 'r",
        ),
        ({"average": 0.9}, "average: with stop the set is handed over that did best; set it to null, or stop"),
        (
            {"stop": RULE | {"every": 9}},
            "stop.every: the run ends after 8 iterations, before it is looked at; lower it",
        ),
    ],
)
def test_a_rule_that_cannot_end_it_is_refused(changes, told):
    found = settings.Distillation.model_validate(chosen().model_dump() | changes)
    assert [mistake for mistake in found.misfits() if mistake.startswith(told)]
    with pytest.raises(UserError):
        run_of(found)


def test_a_file_states_every_number_of_a_rule():
    whole = RULE | {"students": {"name": "ensemble", "networks": 2, "scale": 2.0, "shift": 0.01}}
    assert validate(settings.Stop, whole, "x.stop").every == 1
    for key in ("every", "patience", "per_class"):
        with pytest.raises(UserError, match=f"x.stop.{key}: this key is missing"):
            validate(settings.Stop, {name: value for name, value in whole.items() if name != key}, "x.stop")


def test_a_rule_that_nobody_chose_changes_no_digest():
    assert "stop" not in of().model_dump() and "stop" in chosen().model_dump()
