"""The device is refused in a sentence where it cannot do what the run asks for."""

from pathlib import Path

import pytest
import torch

from ddpipe.device import choose, lent
from ddpipe.errors import UserError
from ddpipe.settings import Run


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    run = Run(device="cpu", compile=True)
    with pytest.raises(UserError, match=r"run\.compile: .* install g\+\+ or set it to false"):
        choose(run)
    assert choose(Run(device="cpu")).type == "cpu"
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    assert choose(run).type == "cpu"


def test_no_new_tensor_is_filled_and_a_lent_process_comes_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a device is: torch's deterministic mode would launch a kernel for every new tensor."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

    def state() -> tuple[object, ...]:
        deterministic = torch.are_deterministic_algorithms_enabled()
        return deterministic, torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.allow_tf32

    before = state()
    with lent(Run(device="cuda")) as device:
        assert device.type == "cuda" and state() == (True, False, False)
    assert state() == before and before[1]
