"""One changed bit in a checkpoint or an expert: the same numbers as without it, or a sentence, never other numbers."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.errors import UserError
from ddpipe.experts.buffer import Buffer, Snapshots, holds, row_digest, write_about
from ddpipe.experts.training import Cohort
from ddpipe.files.artifacts import read_json, read_tensors, write_tensors
from ddpipe.pipeline.descriptions import Rows
from ddpipe.randomness import generator
from stages import distill
from tests.unit.small_project import Project

TRIES = 40  # changed bits in the checkpoints of whole stages
ROWS = torch.randn(3, 5, generator=generator("damage"))
DIGESTS = [row_digest(row) for row in ROWS]


def changed(path: Path) -> Iterator[str]:
    """Each byte of a file in turn with one of its bits changed, and where; the file is whole again afterwards."""
    whole = path.read_bytes()
    for position in range(len(whole)):
        bit = position % 8
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
        yield f"{path.name}, byte {position}, bit {bit}"
    path.write_bytes(whole)


def test_a_piece_is_read_as_it_was_written_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Checkpoints(tmp_path, "f")
    meta = {"cost": {"seconds": 1.5, "device": "CPU"}, "group": [0, 1], "accuracy": 18.8}
    written = {
        "iteration": torch.tensor(7),
        "images": ROWS,
        "rng": torch.arange(3, dtype=torch.uint8),
        "half": ROWS.half(),
    }
    store.write("piece", written, **meta)
    tensors, found = store.read("piece") or ({}, {})
    assert found == meta | {"fingerprint": "f"} and tensors.keys() == written.keys()
    assert all(torch.equal(tensors[name], written[name]) for name in written)
    capsys.readouterr()
    for where in changed(store.path("piece")):
        assert store.read("piece") is None, where
        assert "piece.safetensors is damaged or of an older version; its work is done afresh" in capsys.readouterr().err
    assert store.read("piece") is not None


def test_another_tensor_or_number_under_the_same_seal(tmp_path: Path) -> None:
    """A file that is intact by itself, but whose parts were not written together."""
    store = Checkpoints(tmp_path, "f")
    store.write("0", {"images": ROWS}, accuracy=18.8)
    tensors, meta = read_tensors(store.path("0"))
    for other in ({"images": ROWS + 1}, {"picture": ROWS}, {"images": ROWS.T}, {"images": ROWS.view(torch.int32)}, {}):
        write_tensors(store.path("0"), other, meta)
        assert store.read("0") is None
    write_tensors(store.path("0"), tensors, meta | {"accuracy": 98.8})
    assert store.read("0") is None
    write_tensors(store.path("0"), tensors, meta)
    assert store.read("0") is not None
    write_tensors(store.path("0"), tensors, {"accuracy": 18.8, "fingerprint": "f"})  # as older versions wrote it
    assert store.read("0") is None


@pytest.fixture
def buffer(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    for number in range(2):
        with Snapshots(folder / f"{number}.safetensors", (3, 5), "float32") as file:
            for row in ROWS + number:
                file.append(row)
    digests = [[row_digest(row) for row in ROWS + number] for number in range(2)]
    about = {"buffer": "small", "data_checksum": "d", "recipe": {"architecture": {"kind": "convnet"}}}
    write_about(folder, about, Rows(shape=(3, 5), dtype="float32", digests=digests))
    return folder


@pytest.mark.parametrize("file", ["1.safetensors", "experts.json"])
def test_a_snapshot_is_read_as_it_was_written_or_refused(buffer: Path, file: str) -> None:
    refused = 0
    for where in changed(buffer / file):
        try:
            found = Buffer(buffer)
            found.check("d", {"kind": "convnet"}, 2)
            rows = torch.stack([torch.stack([found.snapshot(e, n) for n in range(3)]) for e in range(2)])
        except UserError as error:
            assert str(buffer / file) in str(error), where
            refused += 1
            continue
        assert torch.equal(rows, torch.stack([ROWS, ROWS + 1])), where
    assert refused > 0.9 * (buffer / file).stat().st_size, "of spaces in a header a few changes mean nothing"


def test_a_damaged_row_refuses_its_own_readers_alone(buffer: Path) -> None:
    path = buffer / "0.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # of the last row
    found = Buffer(buffer)
    assert torch.equal(found.snapshot(0, 1), ROWS[1])
    with pytest.raises(UserError, match=r"0\.safetensors is damaged \(snapshot 2 is not what was written\)"):
        found.snapshot(0, -1)


def test_another_expert_under_this_name(buffer: Path) -> None:
    shutil.copy(buffer / "1.safetensors", buffer / "0.safetensors")
    with pytest.raises(UserError, match=r"0\.safetensors is damaged"):
        Buffer(buffer).snapshot(0, 0)
    renamed = buffer.rename(buffer.with_name("large"))
    with pytest.raises(UserError, match="large holds the experts of 'small'"):
        Buffer(renamed).check("d", {"kind": "convnet"})


def test_a_growing_file_is_held_against_every_row(tmp_path: Path) -> None:
    path = tmp_path / "0.snapshots"
    with Snapshots(path, (3, 5), "float32") as file:
        for row in ROWS[:2]:
            file.append(row)
    assert holds(path, (3, 5), "float32", DIGESTS[:2]) and not holds(path, (3, 5), "float32", DIGESTS)
    for where in changed(path):
        assert not holds(path, (3, 5), "float32", DIGESTS[:2]), where


RESULT = "data/results/tiny/dm-tiny-1.small.quick.json"


class Stop(BaseException):
    pass


def stopping(made: Callable[..., None], after: int) -> Callable[..., None]:
    calls = iter(range(after))

    def stop(*arguments: Any, **options: Any) -> None:
        if next(calls, None) is None:
            raise Stop
        made(*arguments, **options)

    return stop


def numbers(project: Project) -> dict[str, object]:
    """All that the three stages say but their costs."""
    result = read_json(project.root / RESULT)
    folders = [project.root / "data/experts/tiny", project.root / "data/distilled/dc-tiny-1"]
    files = {str(path): path.read_bytes() for folder in folders if folder.exists() for path in folder.iterdir()}
    return files | {"accuracies": result["accuracies"]}


STAGES = {"experts": ("experts", "tiny"), "distill": ("distill", "dc-tiny-1"), "evaluate": ("evaluate", "dm-tiny-1")}


@pytest.fixture
def undisturbed(project: Project, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The numbers of whole runs; their checkpoints are left in the middle of the work: two experts and one begun."""
    project.set(
        "params.yaml", "experts.tiny", read_experts(project) | {"networks": 3, "epochs": 3, "keep": "all", "flat": None}
    )
    project.set("params.yaml", "protocols.quick.networks", 2)
    project.set("params.yaml", "run.together", 2)
    for words in STAGES.values():
        assert project.run(*words) == 0
    whole = numbers(project)
    for folder in ("experts", "distill"):
        shutil.rmtree(project.root / "data/checkpoints" / folder)
    for owner, name, after in ((Cohort, "advance", 5), (distill.Progress, "advance", 2)):
        words = STAGES["experts" if owner is Cohort else "distill"]
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stopping(getattr(owner, name), after))
            with pytest.raises(Stop):
                project.run(*words)
    shutil.copytree(project.root / "data/checkpoints", project.root / "begun")
    return whole


def read_experts(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = {}
    project.edit("params.yaml", lambda content: found.update(content["experts"]["tiny"]))
    return found


def run_damaged(project: Project, file: Path, change: Callable[[bytes], bytes]) -> dict[str, object]:
    """The numbers after `change` of a file of the begun checkpoints, of whose stage nothing else is left."""
    kept, stage = project.root / "data/checkpoints", file.parts[0]
    shutil.rmtree(kept)
    shutil.copytree(project.root / "begun", kept)
    (kept / file).write_bytes(change((kept / file).read_bytes()))
    (project.root / RESULT).unlink()  # or nothing would be measured again
    assert project.run(*STAGES[stage]) == 0
    if stage != "evaluate":
        assert project.run(*STAGES["evaluate"]) == 0
    return numbers(project)


def flipped(position: int, bit: int) -> Callable[[bytes], bytes]:
    return lambda whole: whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :]


def test_a_changed_bit_anywhere_changes_no_number(project: Project, undisturbed: dict[str, object]) -> None:
    begun, draw = project.root / "begun", random.Random(0)
    files = sorted(path.relative_to(begun) for path in begun.rglob("*") if path.is_file() and path.stat().st_size)
    assert {file.name for file in files} >= {
        *("networks.partial.safetensors", "0.snapshots", "1.snapshots", "2.snapshots", "0.safetensors"),
        *("set-0.partial.safetensors", "1.safetensors"),
    }
    for attempt in range(TRIES):
        file = files[attempt % len(files)]
        position, bit = draw.randrange((begun / file).stat().st_size), draw.randrange(8)
        assert run_damaged(project, file, flipped(position, bit)) == undisturbed, (str(file), position, bit)


@pytest.mark.parametrize("file", ["0.snapshots", "1.snapshots", "0.safetensors", "1.safetensors"])
def test_a_lost_expert_is_trained_again_in_its_company(
    project: Project, undisturbed: dict[str, object], capsys: pytest.CaptureFixture[str], file: str
) -> None:
    """Its bits depend on it: networks 0 and 1 were trained at once."""
    capsys.readouterr()
    assert run_damaged(project, Path("experts/tiny") / file, flipped(300, 0)) == undisturbed
    said = capsys.readouterr().err
    assert f"data/checkpoints/experts/tiny/{file} is " in said and "afresh" in said


def test_an_accuracy_in_a_checkpoint_is_not_believed(
    project: Project, undisturbed: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """The digits of an accuracy, exchanged for others: found before it stood as another result."""

    def better(whole: bytes) -> bytes:
        at = whole.index(b'\\"accuracy\\": ') + len(b'\\"accuracy\\": ')
        return whole[:at] + bytes([ord("9") if whole[at] != ord("9") else ord("1")]) + whole[at + 1 :]

    file = next((project.root / "begun/evaluate/dm-tiny-1.small.quick").glob("0-*/0.safetensors"))
    assert run_damaged(project, file.relative_to(project.root / "begun"), better) == undisturbed
    assert "0.safetensors is damaged" in capsys.readouterr().err
