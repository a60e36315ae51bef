"""run.py of a pack, as plain Python runs it, with stages of a line: what comes home, and what a call refuses."""

import io
import json
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from ddpipe.packing import node

WORK = """
import os, pathlib, subprocess, sys, time
name = sys.argv[1]
keeps = pathlib.Path("data/checkpoints", name)
keeps.mkdir(parents=True, exist_ok=True)
(keeps / "pid").write_text(str(os.getpid()))
if name == "slow":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (keeps / "child").write_text(str(child.pid))
    (keeps / "begun").touch()
    time.sleep(60)
pathlib.Path("data", name).write_text(NUMBER)
"""


def packed(folder: Path, number: str, *names: str, name: str = "") -> Path:
    """A pack whose stages write `number`."""
    about = {"module": "stages.work", "after": [], "reads": []}
    stages = [about | {"name": n, "writes": [f"data/{n}"], "keeps": f"data/checkpoints/{n}"} for n in names]
    folder.mkdir(exist_ok=True)
    (folder / "run.py").write_bytes(Path(str(node.__file__)).read_bytes())
    (folder / "pack.json").write_text(json.dumps({"name": name or number, "stages": stages, "resolved": {}}))
    with tarfile.open(folder / "project.tar.xz", "w:xz") as archive:
        for file, text in (("__init__", ""), ("work", WORK.replace("NUMBER", repr(number)))):
            info = tarfile.TarInfo(f"stages/{file}.py")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return folder


def call(pack: Path, *words: str, code: int = 0) -> str:
    command = [sys.executable, str(pack / "run.py"), "--seconds", "60", *words]
    done = subprocess.run(command, cwd=pack.parent, text=True, capture_output=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def home(folder: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """States and files that came home."""
    said = json.loads((folder / "home.json").read_text())
    parts = sorted(folder.glob("home.[0-9]*"), key=lambda path: int(path.suffix[1:]))
    with tarfile.open(fileobj=io.BytesIO(b"".join(path.read_bytes() for path in parts))) as archive:
        return said["states"], {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def test_what_one_pack_finished_counts_for_no_other(tmp_path: Path) -> None:
    pack = packed(tmp_path / "pack", "4", "quick")
    assert "] quick" in call(pack, "--out", "one")
    assert "] quick" not in call(pack, "--out", "one")  # finished by the first call
    packed(pack, "8", "quick")
    (pack / "project/stages/gone.py").touch()
    assert "] quick" in call(pack, "--out", "two")
    assert [home(tmp_path / out)[1]["data/quick"] for out in ("one", "two")] == [b"4", b"8"]
    assert not (pack / "project/stages/gone.py").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_stage_and_packs_home(tmp_path: Path, number: signal.Signals) -> None:
    pack = packed(tmp_path / "pack", "4", "quick", "slow", "never")
    command = [sys.executable, str(pack / "run.py"), "--seconds", "60"]
    process = subprocess.Popen(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # a shell's background jobs ignore SIGINT
    )  # fmt: skip
    begun = pack / "project/data/checkpoints/slow/begun"
    end = time.monotonic() + 30
    while not begun.exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0 and not err and "stopped: 1 (slow)" in out
    states, files = home(tmp_path / "home")
    assert states == {"quick": "finished", "slow": "stopped", "never": "not begun"}
    for file in ("pid", "child"):
        time.sleep(0.2)  # the last word of a killed process
        with pytest.raises(ProcessLookupError):
            alive(int(files[f"data/checkpoints/slow/{file}"]))
    assert home(tmp_path / "home") == (states, files)
    call(pack, "--seconds", "0")  # nothing runs, and all comes home again
    assert home(tmp_path / "home") == (states, files)


def alive(pid: int) -> None:
    """ProcessLookupError where `pid` has ended, be it that nobody has asked how."""
    os.kill(pid, 0)
    if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
        raise ProcessLookupError


def test_only_what_run_py_wrote_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "home"
    (out / "home.d").mkdir(parents=True)
    for name in ("home.txt", "home.json.bak", "home.1"):
        (out / name).write_text("mine")
    (out / "home.137").write_text("of an earlier call")
    call(packed(tmp_path / "pack", "4", "quick"))
    left = {"home.d", "home.txt", "home.json.bak", "home.1"}
    assert {path.name for path in out.iterdir()} == {*left, "home.json", "home.00"}
    (out / "home.01").mkdir()
    assert "home.01 is a folder; name another --out" in call(tmp_path / "pack", code=2)


def test_many_parts(tmp_path: Path) -> None:
    pack = packed(tmp_path / "pack", os.urandom(110_000).hex(), "quick", name="many")
    call(pack, "--part", "0.001")
    assert (tmp_path / "home/home.100").exists()
    assert len(home(tmp_path / "home")[1]["data/quick"]) == 220_000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--part", "0"), "--part 0: a file of less than 0.001 MiB; name more"),
        (("--part", "nan"), "invalid amount value: 'nan'"),
        (("--most", "-1"), "invalid amount value: '-1'"),
        (("--seconds", "inf"), "invalid amount value: 'inf'"),
        (("--out", "pack/run.py"), "cannot be written (File exists)"),
        (("--place", "pack/run.py"), "cannot be written (File exists)"),
    ],
)
def test_mistakes_are_told_before_the_work(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    pack = packed(tmp_path / "pack", "4", "quick")
    assert sentence in call(pack, *words, code=2)
    assert not (pack / "project/data/quick").exists()


def test_a_pack_that_is_not_whole(tmp_path: Path) -> None:
    pack = packed(tmp_path / "pack", "4", "quick")
    archive = pack / "project.tar.xz"
    archive.write_bytes(lzma.compress(b"no archive"))
    assert "cannot be unpacked at" in call(pack, code=2)
    (pack / "pack.json").write_text("{}")
    assert "cannot be unpacked at" in call(pack, code=2)


def test_wheels_of_another_python(tmp_path: Path) -> None:
    pack = packed(tmp_path / "pack", "4", "quick")
    (pack / "wheels").mkdir()
    (pack / "wheels/some-1.0-cp27-cp27m-manylinux1_x86_64.whl").touch()
    here = "{}.{}".format(*sys.version_info)
    said = call(pack, code=2)
    assert f"cannot be installed for Python {here} (ERROR: some-1.0-" in said
    assert f"pack with --python {here}" in said
    assert not (pack / "project/.site").exists()
