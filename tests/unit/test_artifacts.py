"""Files between stages: atomic, repeatable byte by byte, refused with a sentence when they are damaged."""

import json
import stat
from pathlib import Path

import pytest
import torch

from ddpipe.errors import UserError
from ddpipe.files import artifacts

TENSORS = {"b": torch.arange(6).view(2, 3), "a": torch.tensor([0.5, -1.0]), "none": torch.zeros(0, 4)}


def test_tensors_come_back_with_their_meta(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.safetensors"
    artifacts.write_tensors(path, TENSORS, {"k": [1, None, "é"]})
    tensors, meta = artifacts.read_tensors(path)
    assert meta == {"k": [1, None, "é"]}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[k], TENSORS[k]) and tensors[k].dtype == TENSORS[k].dtype for k in TENSORS)
    artifacts.write_tensors(path, TENSORS)
    assert artifacts.read_tensors(path)[1] is None


def test_equal_contents_give_equal_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    artifacts.write_tensors(one, TENSORS, {"x": 1, "y": 2})
    artifacts.write_tensors(two, dict(reversed(TENSORS.items())), {"y": 2, "x": 1})
    assert one.read_bytes() == two.read_bytes()
    artifacts.write_json(one, {"x": 1, "y": [2]})
    artifacts.write_json(two, {"y": [2], "x": 1})
    assert one.read_bytes() == two.read_bytes() and one.read_bytes().endswith(b"}\n")


def test_views_and_gradients_are_written_as_they_look(tmp_path: Path) -> None:
    base = torch.arange(12.0, requires_grad=True).view(3, 4)
    artifacts.write_tensors(tmp_path / "x", {"t": base.T, "row": base[1]})
    tensors, _ = artifacts.read_tensors(tmp_path / "x")
    assert torch.equal(tensors["t"], base.T) and torch.equal(tensors["row"], base[1])


@pytest.mark.parametrize("kept", [0, 4, 20, -1])
def test_a_file_cut_short_is_refused(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "data" / "distilled" / "dm-digits-1" / "0.safetensors"
    artifacts.write_tensors(path, TENSORS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"0\.safetensors is damaged or cut short .*dvc repro distill@dm-digits-1"):
        artifacts.read_tensors(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x does not exist; put it back"):
        artifacts.read_tensors(tmp_path / "x")
    with pytest.raises(UserError, match=r"digits/data\.json does not exist; .*dvc repro prepare@digits"):
        artifacts.read_json(tmp_path / "data" / "prepared" / "digits" / "data.json")


def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        artifacts.write_json(tmp_path / "x", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_full_disk_leaves_the_old_file(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "x.json"
    artifacts.write_json(path, 1)
    monkeypatch.setattr(artifacts.os, call, full)
    with pytest.raises(UserError, match=r"cannot write .*x\.json: No space left on device; free some space"):
        artifacts.write_json(path, 2)
    assert json.loads(path.read_text()) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        artifacts.write_json(tmp_path / "file" / "x.json", 1)


def test_a_new_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "set"
    for name in ("old", "new"):
        with artifacts.new_folder(path) as folder:
            artifacts.write_text(folder / name, name)
            assert not (path / name).exists()
    assert [p.name for p in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "set"
    with artifacts.new_folder(path) as folder:
        artifacts.write_text(folder / "old", "old")
    with pytest.raises(RuntimeError), artifacts.new_folder(path) as folder:
        artifacts.write_text(folder / "new", "new")
        raise RuntimeError("half-way")
    assert [p.name for p in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_written_can_be_read_by_others_as_usual(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    artifacts.write_text(tmp_path / "x", "")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_digest_sees_values_not_order_or_number_type() -> None:
    assert artifacts.digest({"a": 1, "b": [1.5, None]}) == artifacts.digest({"b": (1.5, None), "a": 1.0})
    different = [{"a": 1}, {"a": 2}, {"a": "1"}, {"a": [1]}, {"a": None}, {"b": 1}, {"a": 1.5}, {"a": {"b": 1}}]
    assert len({artifacts.digest(value) for value in different}) == len(different)


def test_a_seal_covers_every_word_of_a_json(tmp_path: Path) -> None:
    path, value = tmp_path / "about.json", {"flip": False, "classes": ["a", "b"], "n": {"train": 12, "share": 0.1}}
    artifacts.write_sealed(path, value)
    found = artifacts.read_sealed(path)
    assert found == value | {"seal": found["seal"]}
    text = path.read_text()
    for old, new in (("false", "true"), ('"a"', '"c"'), ("12", "13"), ("0.1", "0.2"), ('"seal": "', '"seal": "0')):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(UserError, match="about.json does not say what was written"):
            artifacts.read_sealed(path)
    artifacts.write_json(path, value)
    with pytest.raises(UserError, match="about.json"):
        artifacts.read_sealed(path)


def test_file_digest(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert artifacts.file_digest(tmp_path / "x") == expected


@pytest.mark.parametrize("target", ["folder", "nothing", "file"])
def test_a_new_folder_takes_the_place_of_a_link(tmp_path: Path, target: str) -> None:
    """And of a file; what a link leads to stays."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "output").symlink_to(target)
    for text in "ab":
        with artifacts.new_folder(tmp_path / "output") as folder:
            artifacts.write_text(folder / "x", text)
        assert (tmp_path / "output/x").read_text() == text and not (tmp_path / "output").is_symlink()
    with artifacts.new_folder(tmp_path / "file"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "output", "file"}
    assert (tmp_path / "folder/mine").read_text() == "mine"
