"""The loop around a run: when it writes checkpoints, looks for lost numbers, and what a resumed one goes on from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ddpipe import meter
from ddpipe.distillation import running
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.distillation.running import run_to_end
from ddpipe.errors import UserError
from ddpipe.progress import Progress
from ddpipe.settings import Run

CPU = torch.device("cpu")


class Clock:
    """Seconds go by as the run says, and in no other way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 1000.0
        monkeypatch.setattr(running.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Counter:
    """A run whose iterations take `seconds` each and which loses its numbers after iteration `lost`."""

    unit = "round"

    def __init__(self, clock: Clock, seconds: float = 1.0, iterations: int = 300, steps: int = 1, lost: int = 10**9):
        self.clock, self.seconds, self.iterations, self.steps, self.lost = clock, seconds, iterations, steps, lost
        self.iteration = 0
        self.looked: list[int] = []

    def advance(self) -> None:
        self.iteration += 1
        self.clock.now += self.seconds

    def check_finite(self) -> None:
        self.looked.append(self.iteration)
        if self.iteration > self.lost:
            raise UserError("lost")

    def about(self) -> dict[str, Any]:
        return {"rows": self.iteration}

    def state_dict(self) -> dict[str, Tensor]:
        return {"iteration": torch.tensor(self.iteration)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.iteration = int(state["iteration"])


class Store(Checkpoints):
    """Notes the iteration of every checkpoint; writing takes `seconds`."""

    def __init__(self, folder: Path, clock: Clock, seconds: float = 0.0):
        super().__init__(folder, "running")
        self.clock, self.seconds, self.written = clock, seconds, []

    def write(self, name: str, tensors: dict[str, Tensor], **meta: Any) -> None:
        super().write(name, tensors, **meta)
        self.written.append(meta["rows"])
        self.clock.now += self.seconds


def go(run: Counter, store: Store, **how: Any) -> dict[str, Any]:
    with Progress("counting", run.iterations) as progress:
        cost = run_to_end(run, store, "partial", "counter", Run(**how), CPU, progress)
    assert progress.done == run.iteration == run.iterations
    return cost


@pytest.mark.parametrize(
    ("how", "seconds", "expected"),
    [
        ({}, 1.0, [60, 120, 180, 240, 300]),  # by time alone, a minute
        ({}, 0.01, [300]),  # 300 quick iterations: the last one only
        ({}, 100.0, list(range(1, 301))),  # slow ones: each
        ({"checkpoint_seconds": 0.0, "checkpoint_every": 100}, 100.0, [100, 200, 300]),  # by iterations alone
        ({"checkpoint_seconds": 0.0, "checkpoint_every": 70}, 0.0, [70, 140, 210, 280, 300]),
        ({"checkpoint_every": 50}, 1.0, [100, 200, 300]),  # not more often than either says
        ({"checkpoint_every": 7, "checkpoint_seconds": 100.0}, 1.0, [105, 210, 300]),
    ],
)
def test_when_checkpoints_are_written(
    tmp_path: Path, clock: Clock, how: dict[str, Any], seconds: float, expected: list[int]
) -> None:
    store, run = Store(tmp_path, clock), Counter(clock, seconds)
    go(run, store, **how)
    assert store.written == expected
    assert set(expected) <= set(run.looked), "lost numbers are never checkpointed"


def test_a_large_state_of_quick_iterations_is_written_once_a_minute(tmp_path: Path, clock: Clock) -> None:
    """RTP: 188 MB, half a million iterations of hundredths of a second; every fiftieth would write 1.9 TB."""
    store = Store(tmp_path, clock, seconds=2.0)
    go(Counter(clock, 0.02, iterations=500_000), store)
    assert len(store.written) == pytest.approx(500_000 * 0.02 / 60, rel=0.01)


def test_the_minute_begins_when_a_checkpoint_is_written(tmp_path: Path, clock: Clock) -> None:
    store = Store(tmp_path, clock, seconds=100.0)  # longer than the interval: or nothing but writing would be done
    go(Counter(clock, 1.0), store)
    assert store.written == [60, 120, 180, 240, 300]


def test_steps_of_an_iteration_count(tmp_path: Path, clock: Clock) -> None:
    """A pass over the data is one iteration of many steps."""
    store = Store(tmp_path, clock)
    go(Counter(clock, iterations=10, steps=21), store, checkpoint_every=50, checkpoint_seconds=0.0)
    assert store.written == [3, 6, 9, 10]


def test_lost_numbers_are_looked_for_between_distant_checkpoints(tmp_path: Path, clock: Clock) -> None:
    run = Counter(clock, 1.0, lost=100)
    with pytest.raises(UserError, match="lost"):
        go(run, Store(tmp_path, clock), checkpoint_every=10_000)
    assert run.looked == [60, 120]


@pytest.mark.parametrize("stop", [59, 61, 150, 300])
def test_a_resumed_run_goes_on_from_its_last_checkpoint(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str], stop: int
) -> None:
    class Stop(BaseException):
        pass

    class Killed(Counter):
        def advance(self) -> None:
            if self.iteration == stop:
                raise Stop
            super().advance()

    store = Store(tmp_path, clock)
    if stop < 300:
        with pytest.raises(Stop):
            go(Killed(clock), store)
    else:  # killed when the last iteration was done: what is made of it was not written
        go(Killed(clock), store)
    capsys.readouterr()
    begun = stop // 60 * 60
    cost = go(Counter(clock), store)
    log = capsys.readouterr().err
    assert (f"counter: resuming at round {begun} of 300" in log) == bool(begun)
    assert cost["resumed_at"] == ([begun] if begun else []) and cost["seconds"] == pytest.approx(300)


class Stop(BaseException):
    pass


@pytest.mark.parametrize("old", [False, True])
def test_processor_seconds_add_up_over_sittings(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    """A quarter of the clock's; a checkpoint of an earlier version knows the clock's alone, and so does the sum."""
    monkeypatch.setattr(meter, "processor_seconds", lambda: clock.now / 4)

    class Killed(Counter):
        def advance(self) -> None:
            if self.iteration == 150:
                raise Stop
            super().advance()

    store = Store(tmp_path, clock)
    with pytest.raises(Stop):
        go(Killed(clock), store)
    clock.now += 5000.0  # nobody works
    state, meta = store.read("partial")
    assert meta["cost"]["processor_seconds"] == 30.0
    if old:
        for key in ("processor_seconds", "load", "hardware"):
            meta["cost"].pop(key, None)
        Checkpoints.write(store, "partial", state, **meta)
    cost = go(Counter(clock), store)
    assert (cost["seconds"], cost["resumed_at"]) == (300.0, [120])
    assert cost.get("processor_seconds") == (None if old else 75.0)
    assert ("load" in cost, "hardware" in cost) == (not old, not old)


def test_another_device_is_said(tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    store, run = Store(tmp_path, clock), Counter(clock)
    store.write("partial", run.state_dict(), rows=0, cost={"seconds": 5.0, "resumed_at": [], "device": "an abacus"})
    assert go(run, store)["seconds"] == pytest.approx(305)
    assert "begun on an abacus; going on here, the bits differ" in capsys.readouterr().err


def test_the_time_left_is_told_by_steps_that_were_seen(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Not by what an earlier process did, nor by what was read before the first step, nor by a warming up in it."""
    with Progress("counting", 100, log_every=1) as progress:
        progress.skip(90)
        clock.now += 1000.0
        progress.advance()
        clock.now += 2.0
        progress.advance()
        clock.now += 4.0
        progress.advance(steps=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["counting: 91/100", "counting: 92/100, 16 s left", "counting: 94/100, 12 s left"]


def test_many_steps_at_once_are_told_in_one_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("counting", 100, log_every=30) as progress:
        for _ in range(5):
            clock.now += 2.0
            progress.advance(steps=20)
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["40/100,", "60/100,", "100/100,"]


def test_a_bar_forgets_the_first_step(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with Progress("counting", 100) as progress:
        assert progress.bar is not None
        progress.bar._time = lambda: clock.now
        progress.bar.start_t = progress.bar.last_print_t = clock.now
        clock.now += 1000.0
        progress.advance()
        clock.now += 2.0
        progress.advance()
        told = progress.bar.format_dict
        assert (told["n"], told["initial"]) == (2, 1) and told["elapsed"] == pytest.approx(2.0)
