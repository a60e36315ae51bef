"""Shell commands beside each other, and the signals that stop them.

Each command has a process group of its own: a signal reaches it once, from here, whoever sent it to this process. A
second one kills.
"""

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Commands:
    """Running commands by the name of their stage."""

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.stopped: int | None = None  # by this signal

    def start(self, name: str, arguments: list[str], **how: Any) -> None:
        self.running[name] = process = subprocess.Popen(arguments, process_group=0, **how)

        def wait() -> None:
            process.wait()
            self.ended.put(name)

        threading.Thread(target=wait, daemon=True).start()
        if self.stopped is not None:  # it may have missed the signal
            self.send(self.stopped)

    def next(self, seconds: float | None = None) -> tuple[str, int] | None:
        """A command that has ended and its exit code; None when none has after `seconds` (None: wait for one)."""
        try:
            name = self.ended.get(timeout=seconds) if seconds != 0 else self.ended.get_nowait()
        except queue.Empty:
            return None
        return name, self.running.pop(name).wait()

    def send(self, number: int) -> None:
        for process in self.running.values():
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)

    def stop(self, number: int, frame: FrameType | None = None) -> None:
        self.send(number if self.stopped is None else signal.SIGKILL)
        self.stopped = number

    def pause(self, number: int, frame: FrameType | None = None) -> None:
        """Ctrl-Z stops the commands too, until the shell lets all go on."""
        self.send(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        self.send(signal.SIGCONT)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Signals stop the commands instead of this process. At the end none of them runs any more."""
        handlers = dict.fromkeys(STOPPING, self.stop) | {signal.SIGTSTP: self.pause}
        heeded = [number for number in handlers if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores one
        before = {number: signal.signal(number, handlers[number]) for number in heeded}
        try:
            yield
        finally:
            if self.running:
                self.stop(signal.SIGTERM)
            while self.running:
                self.next()
            for number, handler in before.items():
                signal.signal(number, handler)
