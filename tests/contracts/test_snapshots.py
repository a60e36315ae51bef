"""Snapshots of a set while it is distilled: what a run that ended there would hand over, and nothing else changes."""

import pytest
import torch

from ddpipe import settings
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.distillation.running import run_to_end
from ddpipe.distillation.snapshots import Watched, flat, handed_over, parted
from ddpipe.errors import UserError
from ddpipe.files.artifacts import digest
from ddpipe.progress import Progress
from ddpipe.settings.reading import validate
from tests.contracts.compositions import FIRST, SOME, STRATEGY, STUDENTS, advanced, equal, every_set, of, run_of

AT = (0, 2, 5)
RULE = {"every": 2, "patience": 4, "per_class": 2, "students": STUDENTS["ensemble"]}
WARM = {"objective": {"name": "reconstruction", "batch": 4}, "iterations": 3}
SPECIAL = {  # with another set in place of what is learned, hints that are learned, a start before the iterations
    "average": of("trajectory-soft", "experts", STRATEGY, "hallucinator", "contrast", average=0.5),
    "stop": of("ridge-platt", "ensemble", start="transformed", stop=RULE),
    "warm": of("distribution", start="decoder", warm=WARM),
}


def snapshots_are_what_is_handed_over(chosen: settings.Distillation) -> None:
    watched, plain = Watched(run_of(chosen), AT), run_of(chosen)
    for _ in range(6):
        watched.advance()
    assert list(watched.kept) == list(AT)
    for at, kept in watched.kept.items():
        ended = advanced(run_of(chosen), at)
        ended.finish()
        assert equal(kept, handed_over(ended)), at
    assert equal(watched.run.state_dict(), advanced(plain, 6).state_dict())


@every_set
def test_of_every_set(start, regulariser):
    objective = "unroll" if start == "generator" else "distribution"
    snapshots_are_what_is_handed_over(of(FIRST[objective], "fresh", STRATEGY, start, regulariser))


@pytest.mark.parametrize(("objective", "pool"), dict(reversed(SOME)).items())
def test_of_every_objective(objective, pool):
    snapshots_are_what_is_handed_over(of(objective, pool))


@pytest.mark.parametrize("name", SPECIAL)
def test_of_what_is_handed_over_in_place_of_the_last_iterate(name):
    snapshots_are_what_is_handed_over(SPECIAL[name])


def test_an_average_is_not_what_is_learned():
    """Or the test above would compare a set with itself."""
    watched = Watched(run_of(SPECIAL["average"]), AT)
    for _ in range(2):
        watched.advance()
    assert not torch.equal(watched.kept[2]["images"], handed_over(watched.run)["images"])
    assert "hint.lr" in watched.kept[2] and "contents" in watched.kept[2]
    assert any(name.startswith("code.") for name in watched.kept[2])


@pytest.mark.parametrize("name", SPECIAL)
def test_a_killed_run_ends_with_the_same_snapshots(name, tmp_path):
    how, ends = settings.Run(checkpoint_every=1, checkpoint_seconds=0.0), []
    for killed in (0, 1, 3):
        store = Checkpoints(tmp_path / str(killed), "print")
        watched = Watched(run_of(SPECIAL[name]), AT)
        if killed:
            for _ in range(killed):
                watched.advance()
            store.write("piece", watched.state_dict(), cost={"seconds": 0.0, "resumed_at": [], "device": "before"})
            watched = Watched(run_of(SPECIAL[name]), AT)
        with Progress("run", watched.iterations) as progress:
            run_to_end(watched, store, "piece", "run", how, torch.device("cpu"), progress)
        ends.append(flat(watched.kept) | watched.run.state_dict())
    assert any(key.startswith("snapshot/5/") for key in ends[0])
    assert all(equal(end, ends[0]) for end in ends[1:])


def test_they_lie_beside_the_tensors_of_a_file():
    own, kept = {"images": torch.zeros(1)}, {10: {"images": torch.ones(1), "hint.lr": torch.ones(())}, 0: {}}
    found, again = parted(own | flat(kept))
    assert found == own and again == {10: kept[10]}  # of nothing, nothing is left


def test_nobody_who_keeps_none_has_another_digest():
    chosen = of()
    assert "snapshots" not in chosen.model_dump() and chosen.snapshots == ()
    assert digest(of(snapshots=(0, 8)).model_dump()) != digest(chosen.model_dump())


@pytest.mark.parametrize(
    ("snapshots", "told"),
    [
        ([5, 2], "snapshots: must ascend, each number once: [2, 5]"),
        ([0, 2, 2], "snapshots: must ascend, each number once: [0, 2]"),
        ([-1], "snapshots.0: "),
    ],
)
def test_a_list_that_is_none_is_refused(snapshots, told):
    with pytest.raises(UserError) as error:
        validate(settings.Distillation, of().model_dump(mode="json") | {"snapshots": snapshots}, "")
    assert told in str(error.value)


def test_an_iteration_that_never_comes_is_refused():
    told = "snapshots: 9 is after the last of 8 iterations; keep the set after 8 at most"
    assert list(of(snapshots=(0, 9)).misfits()) == [told]
    assert list(of(snapshots=(0, 8)).misfits()) == []
    longer = of("distribution", start="decoder", warm=WARM, snapshots=(11,))
    assert list(longer.misfits()) == []
