"""Commands beside each other: signals reach each once, a second one kills, and what was ignored stays ignored."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from ddpipe.pipeline.commands import Commands

PATIENT = """
import pathlib, signal, sys, time
told = []
note = pathlib.Path(sys.argv[1]).write_text
signal.signal(signal.SIGTERM, lambda number, frame: (told.append(number), note(str(told))))
note("ready")
while True:
    time.sleep(0.01)
"""


def start(commands: Commands, name: str, program: str, *arguments: str) -> None:
    commands.start(name, [sys.executable, "-c", program, *arguments])


def until_says(path: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() or path.read_text() != text:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_they_end_in_any_order() -> None:
    commands = Commands()
    with commands.signals():
        start(commands, "fails", "import sys, time; time.sleep(0.3); sys.exit(3)")
        start(commands, "ends", "")
        assert commands.next() == ("ends", 0)
        assert commands.next(0) is None
        assert commands.next() == ("fails", 3)
    assert commands.stopped is None


def test_a_first_signal_is_passed_on_and_a_second_kills(tmp_path: Path) -> None:
    commands, told = Commands(), tmp_path / "told"
    with commands.signals():
        start(commands, "patient", PATIENT, str(told))
        until_says(told, "ready")
        os.kill(os.getpid(), signal.SIGTERM)
        until_says(told, "[15]")
        os.kill(os.getpid(), signal.SIGTERM)
        assert commands.next() == ("patient", -signal.SIGKILL)
    assert commands.stopped == signal.SIGTERM


def test_none_outlives_an_error() -> None:
    commands = Commands()
    with pytest.raises(ValueError), commands.signals():
        start(commands, "long", "import time; time.sleep(60)")
        process = commands.running["long"]
        raise ValueError
    assert process.returncode == -signal.SIGTERM


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with Commands().signals():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
