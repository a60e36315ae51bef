"""Entries into the text of dvc.lock: only what changed moves, and new ones stand in the order of `dvc repro`."""

from pathlib import Path

import pytest

from ddpipe.pipeline import batches, record
from ddpipe.pipeline.batches import Batches

NEW = "schema: '2.0'\nstages:\n"


def entry(name: str, cmd: str = "run") -> str:
    return f"  {name}:\n    cmd: {cmd}\n    outs:\n    - path: {name}\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (NEW + entry("a@b") + "# mine\n" + entry("c"), ["a@b"]),
        (NEW + "  # a note\n" + entry("a@b") + entry("'c'") + "\ndatasets: []\n", ["a@b", "c"]),
        (NEW, []),
        ("schema: '2.0'\nstages: {}\n", []),
        ("", []),
    ],
)
def test_a_lock_is_split_into_its_stages(text: str, names: list[str]) -> None:
    head, found, tail = record.split(text)
    assert list(found) == names
    assert head + "".join(found.values()) + tail == text


def test_new_stages_stand_in_order_whenever_they_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("dvc.lock")
    path.write_text(NEW + entry("old") + entry("b", "earlier") + "datasets: []\n")
    lock = Batches(path.absolute(), ["a", "b", "c", "d"])
    assert lock.due() is None
    for ended in (["d"], ["b", "c"], ["a"]):
        lock.waiting |= {name: entry(name) for name in ended}
        lock.write()
        assert lock.due() is None
    text = NEW + "".join(map(entry, ["old", "b", "a", "c", "d"])) + "datasets: []\n"
    assert path.read_text() == text
    assert record.COPY.read_text() == text  # no stage need look at it again


@pytest.mark.parametrize("before", [None, "schema: '2.0'\nstages: {}\n"])
def test_the_first_stages_of_a_lock(before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("dvc.lock")
    if before is not None:
        path.write_text(before)
    lock = Batches(path.absolute(), ["a"])
    lock.waiting["a"] = entry("a")
    lock.write()
    assert path.read_text() == NEW + entry("a")


def test_a_batch_is_due_when_the_last_one_was_cheap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(batches.time, "monotonic", lambda: now)
    lock = Batches(tmp_path / "dvc.lock", ["a"])
    lock.waiting["a"] = entry("a")
    assert lock.due() == 0
    lock.seconds = 0.1
    assert lock.due() == pytest.approx(0.1 / batches.SHARE)
    now += 0.1 / batches.SHARE
    assert lock.due() == pytest.approx(0, abs=1e-6)
