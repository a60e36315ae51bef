"""What work cost: processor seconds are the work's own, sums leave out what is not known or cannot be added."""

import os
import subprocess
import sys
import time
from typing import Any

import pytest
import torch

from ddpipe import device, meter
from ddpipe.meter import Meter, shared, total

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_processor_seconds_are_those_of_the_work_and_not_of_the_clock() -> None:
    measured = Meter(CPU)
    time.sleep(0.5)
    burn(0.2)
    cost = measured.record()
    assert cost["seconds"] >= 0.7 and 0.2 <= cost["processor_seconds"] < 0.45
    assert "device_seconds" not in cost and cost["hardware"] == device.hardware(CPU) != ""


def test_children_that_were_waited_for_count() -> None:
    measured = Meter(CPU)
    program = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert measured.record()["processor_seconds"] >= 0.5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes on by hand: its only number."""
    now = [1000.0]
    monkeypatch.setattr(meter.time, "monotonic", lambda: now[0])
    return now


def test_device_seconds_begin_and_end_with_a_wait_for_the_device(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    """What was asked for before takes 5 seconds more, the work 3: a clock without waits would tell neither."""
    queue = [5.0]

    def synchronize(where: torch.device) -> None:
        assert where == GPU
        clock[0] += queue.pop() if queue else 0.0

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda where: "An accelerator")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda where: 3 * 2**20)
    measured = Meter(GPU)
    queue.append(3.0)
    cost = measured.record()
    assert (cost["seconds"], cost["device_seconds"], cost["peak_memory_mb"]) == (3.0, 3.0, 3.0)
    assert cost["hardware"] == cost["device"] == "An accelerator" and "processor_seconds" in cost


def test_the_load_is_a_mean_over_the_work(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    """Asked for whenever the work is looked at, over about as long as since the last time."""
    monkeypatch.setattr(os, "getloadavg", lambda: (1.0, 5.0, 15.0))
    measured = Meter(CPU)
    assert measured.record()["load"] == 1.0, "of no time at all: as it is now"
    clock[0] += 100.0
    assert measured.record()["load"] == 1.0
    clock[0] += 300.0
    assert measured.record()["load"] == (100 * 1.0 + 300 * 5.0) / 400
    clock[0] += 1600.0
    assert measured.record()["load"] == (100 * 1.0 + 300 * 5.0 + 1600 * 15.0) / 2000


@pytest.mark.parametrize("absent", [AttributeError, OSError])
def test_a_system_without_a_load_has_none(monkeypatch: pytest.MonkeyPatch, absent: type[Exception]) -> None:
    def getloadavg() -> tuple[float, float, float]:
        raise absent

    monkeypatch.setattr(os, "getloadavg", getloadavg)
    assert "load" not in Meter(CPU).record()


def piece(seconds: float, **more: Any) -> dict[str, Any]:
    return {"seconds": seconds, "peak_memory_mb": 10.0 * seconds, "device": "CPU x", "versions": {"torch": "2"}} | more


def known(seconds: float, **more: Any) -> dict[str, Any]:
    return piece(seconds, processor_seconds=seconds / 2, load=1.0, hardware="Chip") | more


def test_pieces_of_work_add_up() -> None:
    whole = total([known(4.0, resumed_at=[3], iterations=7), known(2.0, load=4.0, resumed_at=[], iterations=9)])
    assert whole == known(6.0, load=2.0, peak_memory_mb=40.0, resumed_at=[3], iterations=9)


def test_what_an_older_version_did_not_note_is_not_made_up() -> None:
    assert total([piece(4.0), known(2.0)]) == piece(6.0, peak_memory_mb=40.0)
    assert total([known(2.0), piece(4.0)]) == piece(6.0, peak_memory_mb=40.0)


def test_seconds_on_different_hardware_do_not_add_up() -> None:
    card = known(2.0, device_seconds=2.0, hardware="Card", device="Card")
    whole = total([known(4.0), card, card])
    assert (whole["seconds"], whole["hardware"], whole["device"]) == (8.0, "Chip / Card", "CPU x / Card")
    assert not {"processor_seconds", "device_seconds"} & whole.keys()
    again = total([whole, card])
    assert again["hardware"] == "Chip / Card" and not {"processor_seconds", "device_seconds"} & again.keys()
    assert total([card, card])["device_seconds"] == 4.0


def test_networks_made_at_once_share_their_seconds() -> None:
    each = shared(known(4.0, device_seconds=4.0), 4)
    assert each == known(4.0) | {"seconds": 1.0, "processor_seconds": 0.5, "device_seconds": 1.0, "together": 4}
    assert shared(piece(4.0), 2)["seconds"] == 2.0 and "processor_seconds" not in shared(piece(4.0), 2)
