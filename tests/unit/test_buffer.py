"""Experts on disk: the bytes of a growing file, what is read of it, and which buffers a cell refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ddpipe.errors import UserError
from ddpipe.experts.buffer import Buffer, Snapshots, holds, row_digest, write_about
from ddpipe.files.artifacts import read_json, write_sealed, write_tensors
from ddpipe.pipeline.descriptions import Rows
from ddpipe.randomness import generator

S, P = 4, 6
ROWS = torch.randn(S, P, generator=generator("buffer"))
DIGESTS = [row_digest(row) for row in ROWS]
EXPERTS = 2
ABOUT = {"buffer": "small", "data_checksum": "a", "recipe": {"architecture": {"kind": "convnet"}}}


def grow(path: Path, rows: range, dtype: str = "float32", shape: tuple[int, int] = (S, P)) -> list[str]:
    with Snapshots(path, shape, dtype, DIGESTS[: rows.start]) as file:
        for number in rows:
            file.append(ROWS[number])
        file.sync()
    return file.digests


def write_buffer(path: Path, arrays: list[torch.Tensor]) -> Path:
    path.mkdir()
    for number, array in enumerate(arrays):
        write_tensors(path / f"{number}.safetensors", {"snapshots": array})
    dtype = str(arrays[0].dtype).removeprefix("torch.")
    digests = [[row_digest(row) for row in array] for array in arrays]
    write_about(path, ABOUT, Rows(shape=tuple(arrays[0].shape), dtype=dtype, digests=digests))
    return path


FEW = """
import resource, sys
from pathlib import Path
from ddpipe.experts.buffer import Buffer
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
buffer = Buffer(Path(sys.argv[1]))
print(sum(len(buffer.snapshot(expert, -1)) for expert in range(len(buffer))))
"""


def test_a_buffer_may_have_more_experts_than_a_process_has_descriptors(tmp_path):
    write_buffer(tmp_path / "small", [ROWS] * 64)
    command = [sys.executable, "-c", FEW, str(tmp_path / "small")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert (done.stdout, done.returncode) == (f"{64 * P}\n", 0), done.stderr


def test_all_that_its_description_says_is_kept(tmp_path):
    """A cell's checkpoints are held against it."""
    path = write_buffer(tmp_path / "small", [ROWS]) / "experts.json"
    about = {key: value for key, value in read_json(path).items() if key != "seal"}
    about |= {"seed": 3, "parameters": [["0.weight", [2, 3]]], "recipe": {"lr": 0.01, "flat": None, "networks": [1, 2]}}
    write_sealed(path, about)
    assert Buffer(path.parent).about == read_json(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"snapshots": {"shape": [S, 0], "dtype": "float32", "digests": [DIGESTS]}}, "snapshots.shape.1: "),
        ({"snapshots": {"shape": [S, P], "dtype": "float64", "digests": [DIGESTS]}}, "snapshots.dtype: "),
        ({"snapshots": {"shape": [S, P], "dtype": "float32", "digests": []}}, "snapshots.digests: "),
        ({"recipe": None}, "recipe: "),
    ],
)
def test_a_description_of_something_else_is_a_sentence(tmp_path, change, says):
    path = write_buffer(tmp_path / "small", [ROWS]) / "experts.json"
    write_sealed(path, {key: value for key, value in read_json(path).items() if key != "seal"} | change)
    with pytest.raises(UserError, match=rf"experts\.json is damaged \({says}.*\); "):
        Buffer(path.parent)


def test_weights_that_are_not_finite_name_the_buffer(tmp_path):
    lost = ROWS.clone()
    lost[2, 3] = torch.inf
    buffer = Buffer(write_buffer(tmp_path / "small", [ROWS, lost]))
    buffer.snapshot(1, 1)
    with pytest.raises(UserError, match=r"1\.safetensors: snapshot 2 holds .* not finite; lower experts\.small\.lr"):
        buffer.snapshot(1, 2)


def folder(path: Path) -> Path:
    return write_buffer(path, [(ROWS + number).half() for number in range(EXPERTS)])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_grown_file_has_the_bytes_of_one_written_at_once(tmp_path, dtype):
    grow(tmp_path / "grown", range(S), dtype)
    write_tensors(tmp_path / "once", {"snapshots": ROWS.to(getattr(torch, dtype))})
    assert (tmp_path / "grown").read_bytes() == (tmp_path / "once").read_bytes()


@pytest.mark.parametrize("kept", range(1, S))
def test_a_file_goes_on_behind_the_snapshots_that_count(tmp_path, kept):
    path, whole = tmp_path / "broken", tmp_path / "whole"
    grow(path, range(S - 1))
    with open(path, "ab") as file:
        file.write(b"half a row")
    assert holds(path, (S, P), "float32", DIGESTS[:-1]) and not holds(path, (S, P), "float32", DIGESTS)
    assert grow(path, range(kept, S)) == grow(whole, range(S)) == DIGESTS
    assert path.read_bytes() == whole.read_bytes() and holds(path, (S, P), "float32", DIGESTS)
    with open(path, "ab") as file:
        file.write(b"x")
    assert not holds(path, (S, P), "float32", DIGESTS), "no other program would take it for whole"


def test_a_new_file_leaves_the_old_one_to_its_other_name(tmp_path):
    grow(tmp_path / "array", range(S))
    os.link(tmp_path / "array", tmp_path / "finished")
    before = (tmp_path / "finished").read_bytes()
    grow(tmp_path / "array", range(2))
    assert (tmp_path / "finished").read_bytes() == before
    assert holds(tmp_path / "array", (S, P), "float32", DIGESTS[:2])


def test_no_file_has_no_snapshots(tmp_path):
    assert not holds(tmp_path / "none", (S, P), "float32", [])
    (tmp_path / "none").write_bytes(b"shorter")
    assert not holds(tmp_path / "none", (S, P), "float32", [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "array").symlink_to("/dev/full")
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok: None)
    with pytest.raises(UserError, match="cannot write .*array: No space left on device"):
        grow(tmp_path / "array", range(S))


def test_snapshots_are_float32_copies(tmp_path):
    buffer = Buffer(folder(tmp_path / "small"))
    assert len(buffer) == 2 and buffer.epochs == S - 1
    for expert in range(2):
        for number in range(S):
            found = buffer.snapshot(expert, number)
            assert found.dtype == torch.float32 and torch.equal(found, (ROWS[number] + expert).half().float())
            found.zero_()
    assert torch.equal(buffer.snapshot(1, -1), (ROWS[-1] + 1).half().float())
    with pytest.raises(IndexError):
        buffer.snapshot(0, S)


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's memory from /proc")
def test_only_the_rows_asked_for_are_read(tmp_path):
    rows, floats = 64, 500_000
    write_buffer(tmp_path / "large", [torch.arange(rows, dtype=torch.float32).expand(floats, rows).T])

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    buffer = Buffer(tmp_path / "large")
    kept = [buffer.snapshot(0, number) for number in (3, 5, -1)]
    assert [float(row[-1]) for row in kept] == [3.0, 5.0, 63.0]
    assert resident() - before < 16 * 4 * floats  # mapped pages and their copies: of 64 rows a quarter is ample


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (
            ("b", {"kind": "convnet"}, 3),
            "trained on other images or another preprocessing .* `dvc repro experts@small`",
        ),
        (("a", {"kind": "resnet"}, 3), "holds another network"),
        (("a", {"kind": "convnet"}, 4), "experts.small: 3 epochs are kept, but the cell goes up to 4; set keep: all"),
    ],
)
def test_a_cell_refuses_what_does_not_fit(tmp_path, cell, says):
    buffer = Buffer(folder(tmp_path / "small"))
    buffer.check("a", {"kind": "convnet"}, 3)
    with pytest.raises(UserError, match=says):
        buffer.check(*cell)
