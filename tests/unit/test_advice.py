"""The advice about a damaged file, from DVC's files alone; tests/pipeline/test_damage.py follows it with `dvc`."""

import hashlib
import json
from pathlib import Path

import pytest

from ddpipe.files.advice import mend

FILE = Path("data/experts/a b/0.safetensors")
DVC = """
stages:
  experts: {foreach: {}, do: {cmd: x, outs: ["data/experts/${key}"]}}
  evaluate: {foreach: {}, do: {cmd: x, metrics: [{"data/results/r.json": {cache: false}}]}}
"""


def keep(cache: Path, content: bytes, ending: str = "") -> str:
    """Put an object into DVC's cache; its name."""
    md5 = hashlib.md5(content).hexdigest() + ending
    path = cache / "files/md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which DVC keeps an expert and a result."""
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / "dvc.yaml").write_text(DVC)
    record(root, root / ".dvc/cache")
    monkeypatch.chdir(root)
    return root


def record(root: Path, cache: Path) -> None:
    listing = [{"md5": keep(cache, b"expert"), "relpath": FILE.name}]
    folder = keep(cache, json.dumps(listing).encode(), ".dir")
    result = keep(cache, b"result")
    for path, content in ((FILE, b"expert"), (Path("data/results/r.json"), b"result")):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    outs = {"experts@a b": (str(FILE.parent), folder), "evaluate@r": ("data/results/r.json", result)}
    lock = {name: {"cmd": "x", "outs": [{"path": path, "md5": md5}]} for name, (path, md5) in outs.items()}
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": lock}))


def test_the_file_alone(root: Path) -> None:
    FILE.write_bytes(b"expErt")
    assert mend(FILE) == "run `rm -f 'data/experts/a b/0.safetensors'`, then `dvc checkout 'data/experts/a b'`"
    FILE.unlink()
    assert mend(FILE) == "run `dvc checkout 'data/experts/a b'`"


def test_a_result_comes_back_by_its_stage(root: Path) -> None:
    result = Path("data/results/r.json")
    result.write_bytes(b"resUlt")
    assert mend(result) == "run `rm -f data/results/r.json`, then `dvc repro evaluate@r`"


def test_as_it_was_recorded(root: Path) -> None:
    assert mend(FILE).endswith("so have it written anew: `dvc repro --force --single-item 'experts@a b'`")


def test_from_another_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    (root / FILE).unlink()
    assert mend(root / FILE) == f"run `cd {root}`, then `dvc checkout 'data/experts/a b'`"


@pytest.mark.parametrize("where", ["config", "config.local", "global", "system"])
@pytest.mark.parametrize("written", ["dir = {}", 'dir = "{}"', "dir = {}   # elsewhere"])
def test_a_cache_elsewhere(root: Path, tmp_path: Path, where: str, written: str) -> None:
    """The damaged object is named, relative or not, whichever file says where the cache is."""
    record(root, tmp_path / "cache")
    folder = tmp_path / where if where in ("global", "system") else root / ".dvc"
    config = folder / ("config" if folder != root / ".dvc" else where)
    config.parent.mkdir(exist_ok=True)
    named = "../cache" if folder != root / ".dvc" else "../../cache"
    config.write_text(f"[core]\n    remote = store\n[cache]\n    type = copy\n    {written.format(named)}\n")
    md5 = hashlib.md5(b"expert").hexdigest()
    damaged = tmp_path / "cache/files/md5" / md5[:2] / md5[2:]
    damaged.write_bytes(b"expErt")
    FILE.write_bytes(b"expErt")
    assert mend(FILE) == (
        f"DVC's cache holds damage too; run `rm -f 'data/experts/a b/0.safetensors' {damaged}`, then "
        "`dvc pull 'data/experts/a b'`, or `dvc repro 'experts@a b'` where the remote has no whole copy"
    )


@pytest.mark.parametrize(
    ("file", "content"),
    [("dvc.lock", ""), ("dvc.lock", "stages: [1"), ("dvc.lock", "stages: {x: 3}"), ("dvc.lock", "- 1")]
    + [("dvc.yaml", ""), (".dvc/config", "[cache\n"), (".dvc/config", "no section")],
)
def test_damage_in_dvcs_own_files_is_another_trouble(root: Path, file: str, content: str) -> None:
    Path(file).write_text(content)
    FILE.write_bytes(b"expErt")
    assert mend(FILE) == "delete it and run `dvc repro 'experts@a b'`"
    FILE.unlink()
    assert mend(FILE) == "run `dvc repro 'experts@a b'`"


def test_a_file_that_dvc_does_not_know(root: Path) -> None:
    assert mend(Path("notes/x")) == "put it back, or run the stage that writes it again"
    assert mend(Path("data/raw/cifar10-jpeg75")) == "put it back"
    assert mend(Path("data/distilled/$(x)/0")) == "run `dvc repro 'distill@$(x)'`"
