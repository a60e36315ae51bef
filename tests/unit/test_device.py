"""The device is refused in a sentence where it cannot do what the run asks for."""

from pathlib import Path

import pytest

from ddpipe.device import choose
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
