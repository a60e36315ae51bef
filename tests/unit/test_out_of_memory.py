"""Advice when memory ends: keys that the stage has, and numbers that help."""

import pytest

from ddpipe import memory, settings
from ddpipe.memory import images_at_once
from stages.distill import smaller
from stages.evaluate import explanation
from tests.contracts.compositions import of


def test_whitening_that_cannot_fit_is_refused_before_anything_is_written(monkeypatch, project, capsys):
    monkeypatch.setattr(memory, "machine_memory", lambda: 32 * 64**2 - 1)
    project.set("params.yaml", "datasets.tiny.standardise", "biased")
    project.set("params.yaml", "datasets.tiny.whitening", {})
    before = project.outputs()
    assert project.run("prepare", "tiny") == 2
    assert "datasets.tiny.whitening: images of 8x8 need matrices of 64 x 64" in capsys.readouterr().err
    assert project.outputs() == before
    monkeypatch.setattr(memory, "machine_memory", lambda: 32 * 64**2)
    assert project.run("prepare", "tiny") == 0


def test_large_images_need_what_no_small_machine_has(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 2**34)
    assert "49152 x 49152, 72 GiB, but there are 16" in (memory.oversized_whitening((3, 128, 128)) or "")


@pytest.mark.parametrize(
    ("objective", "pool", "says"),
    [
        ("trajectory-full", "experts", "set objective.gradient to exact"),
        ("trajectory-chunks", "experts", "lower objective.batch"),
        ("gradient-ours", "fresh", "lower real_batch (6)"),
        ("distribution", "fresh", "lower real_batch (6) or objective.chunk (2560)"),
    ],
)
def test_only_keys_of_the_cell_are_named(objective, pool, says):
    assert smaller(of(objective, pool)).startswith(says)


def test_large_images_are_tested_in_smaller_batches():
    assert [images_at_once(3 * side**2) for side in (8, 28, 32, 64, 96, 4096)] == [
        1024,
        1024,
        1024,
        256,
        113,
        1,
    ]


def test_no_batch_is_set_to_nothing():
    rules = settings.Protocol(epochs=1, batch=1)
    data = type("Data", (), {"n": 9, "lr": None})()
    said = explanation(MemoryError(), rules, "protocols.quick", "set 0", data, 1)
    assert said and "set it to" not in said and "smaller network" in said
