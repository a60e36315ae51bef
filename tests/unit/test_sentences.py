"""Files of the wrong shape, damaged or hostile, and what an operating system can do: one sentence, never a traceback.

More mistakes are in test_errors.py.
"""
# ruff: noqa: E501 (a row of the table is one line)

import errno
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddpipe import command
from ddpipe.datasets.source import refuse_names
from ddpipe.errors import UserError
from ddpipe.files import artifacts
from ddpipe.report.published import COLUMNS
from tests.unit.small_project import ROOT, Project, arrays
from tests.unit.test_errors import DM, Bad, npz, pictures, put, sentences, write

Output = pytest.CaptureFixture[str]
NPZ, TABLE1 = "data/raw/tiny.npz", "data/published/table1.csv"
LABELS = arrays()["train_labels"]


def zipped(compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, array in arrays().items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", content.getvalue())
    return stream.getvalue()


def spoilt(compression: int) -> Callable[[Project], object]:
    """The compressed training images damaged in their middle."""
    data = bytearray(zipped(compression))
    data[900] ^= 255
    return lambda project: (project.root / NPZ).write_bytes(data)


def encrypted(project: Project) -> None:
    """What zipfile takes for encrypted: bit 0 of the flags of every member, in both headers."""
    data = bytearray(zipped(zipfile.ZIP_STORED))
    for magic, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := data.find(magic, at + 1)) >= 0:
            data[at + flags] |= 1
    (project.root / NPZ).write_bytes(data)


def shaped(shape: str) -> Callable[[Project], object]:
    """Training images whose header claims `shape`, a literal."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    content = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text

    def make(project: Project) -> None:
        with zipfile.ZipFile(project.root / NPZ, "w") as archive:
            archive.writestr("train_images.npy", content)
            archive.writestr("train_labels.npy", b"")

    return make


def one_label(value: int) -> np.ndarray:
    labels = LABELS.astype(np.uint64)
    labels[3] = value
    return labels


def published(column: str, value: str) -> Callable[[Project], object]:
    """`value` in the second row of the survey's first table, line 3 of the file."""

    def make(project: Project) -> None:
        path = project.root / TABLE1
        head, first, second, *rest = path.read_text(encoding="utf-8").splitlines()
        words = second.split(",", 13)
        words[head.split(",").index(column)] = value
        path.write_text("\n".join([head, first, ",".join(words), *rest]), encoding="utf-8")

    return make


def last_line(text: str) -> Callable[[Project], object]:
    def make(project: Project) -> None:
        with open(project.root / TABLE1, "a", encoding="utf-8") as file:
            file.write(text)

    return make


def folder_of_no_text(project: Project) -> None:
    pictures(lambda data: data)(project)
    os.rename(
        project.root / "data/raw/birds/train/class1", os.fsencode(project.root / "data/raw/birds/train") + b"/f\xe9"
    )


TABLE = [
    # dvc.yaml
    Bad("empty dvc.yaml", write("dvc.yaml", ""), "check", ("dvc.yaml holds no stages", "git checkout dvc.yaml")),
    Bad("dvc.yaml is a list", write("dvc.yaml", "- vars"), "check", ("dvc.yaml holds no stages",)),
    Bad("dvc.yaml is a word", write("dvc.yaml", "vars"), "check", ("dvc.yaml holds no stages",)),
    Bad("null vars", write("dvc.yaml", "vars:"), "check", ("dvc.yaml, vars", "list it as `- ddpipe/methods/dm.yaml:grid`")),
    Bad("vars is a word", write("dvc.yaml", "vars: ddpipe/methods/dm.yaml:grid"), "check", ("dvc.yaml, vars: must be a list",)),
    Bad("vars is a map", write("dvc.yaml", "vars: {a: b}"), "check", ("dvc.yaml, vars: must be a list",)),
    Bad("vars of numbers", write("dvc.yaml", "vars: [3, null]"), "check", ("dvc.yaml, vars: must be a list",)),
    Bad("vars of one's own", write("dvc.yaml", "vars: [{a: b}]"), "check", ("dvc.yaml, vars", "list it as `- ddpipe/methods/dm.yaml:grid`")),
    # npz
    Bad("encrypted", encrypted, "prepare tiny", (f"datasets.tiny.path: {NPZ} is encrypted", "numpy.savez")),
    Bad("damaged LZMA", spoilt(zipfile.ZIP_LZMA), "prepare tiny", (NPZ, "is not an intact .npz", "save it again")),
    Bad("damaged bzip2", spoilt(zipfile.ZIP_BZIP2), "prepare tiny", (NPZ, "is not an intact .npz", "save it again")),
    Bad("damaged deflate", spoilt(zipfile.ZIP_DEFLATED), "prepare tiny", (NPZ, "is not an intact .npz", "save it again")),
    Bad("shape of truth", shaped("(29, True, 8)"), "prepare tiny", (NPZ, "is not an intact .npz", "shape (29, True, 8)")),
    Bad("shape below zero", shaped("(-29, 8, 8)"), "prepare tiny", (NPZ, "is not an intact .npz", "shape (-29, 8, 8)")),
    Bad("nested header", shaped("(" * 20000), "prepare tiny", (NPZ, "is not an intact .npz", "save it again")),
    Bad("large label", npz(train_labels=one_label(5 * 10**7)), "prepare tiny", (NPZ, "29 training images have the label 50000000", "number the classes")),
    Bad("huge label", npz(train_labels=one_label(2**62)), "prepare tiny", (NPZ, f"the label {2**62}", "number the classes")),
    Bad("largest label", npz(train_labels=one_label(2**64 - 1)), "prepare tiny", (NPZ, f"the label {2**64 - 1}", "number the classes")),
    Bad("no names", npz(classes=np.array([], dtype="U1")), "prepare tiny", (NPZ, "the 0 classes are numbered")),
    Bad("name is no text", npz(classes=np.array(["a\ud800", "b", "c"])), "prepare tiny", ("datasets.tiny: a class is called 'a\\ud800'", "rename it")),
    Bad("name with NUL", npz(classes=np.array(["a\0b", "b", "c"])), "prepare tiny", ("datasets.tiny: a class is called 'a\\x00b'", "rename it")),
    Bad("name twice", npz(classes=np.array(["b", "a", "b"])), "prepare tiny", ("datasets.tiny: two classes are called 'b'", "rename one")),
    # published values
    Bad("table", published("table", "../9"), "report tiny", (f"{TABLE1}, line 3: table must be 1, 2, 3 or 4, not '../9'", "from git")),
    Bad("objection", published("doubtful", "x"), "report tiny", (f"{TABLE1}, line 3: doubtful must be", "not 'x'", "from git")),
    Bad("IPC", published("ipc", "ten"), "report tiny", (f"{TABLE1}, line 3: ipc must be", "not 'ten'", "from git")),
    Bad("infinite mean", published("mean", "inf"), "report tiny", (f"{TABLE1}, line 3: mean must be a number from 0 to 100", "not 'inf'")),
    Bad("long mean", published("mean", "9" * 5000), "report tiny", (f"{TABLE1}, line 3: mean must be a number from 0 to 100", "999; mend it")),
    Bad("short row", last_line("1,b\n"), "report tiny", (f"{TABLE1}, line 350: scheme must be a word, not ''", "from git")),
    Bad("long rows", write(TABLE1, ",".join(COLUMNS) + "\n" + "1," * len(COLUMNS) + "1\n"), "report tiny", (f"{TABLE1} has rows of more values than columns", "from git")),
    Bad("long row", last_line("a" + ",b" * 20 + "\n"), "report tiny", (f"{TABLE1} is not a readable CSV file", "from git")),
    # the command line
    Bad("long name", lambda p: None, f"export dm-tiny-1 {'x' * 300}", ("x" * 300, "File name too long")),
]  # fmt: skip


@pytest.mark.parametrize("bad", TABLE, ids=[bad.name for bad in TABLE])
def test_a_hostile_file_is_one_sentence(bad: Bad, project: Project, capsys: Output) -> None:
    bad.make(project)
    capsys.readouterr()
    said = sentences(project, bad.command, capsys)
    assert any(all(fragment in line for fragment in bad.says) for line in said), said


def test_a_folder_whose_name_is_no_text(project: Project, capsys: Output) -> None:
    try:
        folder_of_no_text(project)
    except OSError:
        pytest.skip("this file system takes text alone")
    capsys.readouterr()
    [said] = sentences(project, "prepare tiny", capsys)
    assert (
        "datasets.tiny.path: the name of the folder data/raw/birds/train/f\\xe9 is no text in UTF-8; rename it" in said
    )


@pytest.mark.parametrize("words", [("é", "a b", "猫", "a‌b"), tuple("ab")])
def test_names_in_any_script_are_names(words: tuple[str, ...]) -> None:
    refuse_names("datasets.x", words)


@pytest.mark.parametrize("words", [("a", ""), ("a\n", "b"), ("\x1b[2J", "b"), ("a", "a")])
def test_names_that_no_file_can_hold(words: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="datasets.x: .* rename "):
        refuse_names("datasets.x", words)


# --- what the operating system does -----------------------------------------------------------------------------------

READ = [  # a file that a command reads, and the command
    ("params.yaml", "check"),
    (DM, "explain dm-tiny-1"),
    ("dvc.yaml", "check"),
    ("data/published/table1.csv", "report tiny"),
    ("data/prepared/tiny/data.json", "distill dm-tiny-1"),
    ("data/distilled/dm-tiny-1/distilled.json", "export dm-tiny-1 out"),
    ("data/results/tiny/dm-tiny-1.small.quick.json", "export dm-tiny-1 out"),
    ("data/costs/dm-tiny-1.json", "distill dm-tiny-1"),
]


@pytest.mark.parametrize("file, words", READ)
def test_a_folder_in_place_of_a_file(file: str, words: str, project: Project, capsys: Output) -> None:
    (project.root / file).unlink()
    (project.root / file).mkdir()
    [said] = sentences(project, words, capsys)
    assert file in said and "unexpected" not in said


def denied(*arguments: object, **options: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(arguments[0]))


@pytest.mark.parametrize("words", ["prepare tiny", "distill dc-tiny-1", "evaluate dm-tiny-1", "export dm-tiny-1 out"])
def test_another_users_files(words: str, project: Project, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts.os, "replace", denied)
    [said] = sentences(project, words, capsys)
    assert "cannot write" in said and "Permission denied" in said and not (project.root / "out").exists()


def test_reading_another_users_file(project: Project, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", denied)
    (project.root / "data/costs/dm-tiny-1.json").unlink()  # which is looked at first
    assert project.run("distill", "dm-tiny-1") == 2
    [said] = capsys.readouterr().err.splitlines()
    assert (
        said
        == "error: cannot use data/prepared/tiny/data.json: Permission denied; mend it and run the same command again"
    )


def end(function: Callable[[], object]) -> int:
    """The exit code of a command that does what `function` does."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["command"])
        command.run(lambda: function())
    return int(ended.value.code or 0)


def interrupted() -> None:
    raise KeyboardInterrupt


def test_an_interruption(capsys: Output) -> None:
    assert end(interrupted) == 130
    assert capsys.readouterr().err == "error: interrupted; run the same command again to continue\n"


def fault() -> None:
    raise ZeroDivisionError("nothing\nto divide by")


def test_a_fault_keeps_its_traceback(capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert end(fault) == 1
    [said], [kept] = capsys.readouterr().err.splitlines(), list(tmp_path.iterdir())
    assert said.startswith("error: unexpected ZeroDivisionError: nothing to divide by (test_sentences.py, line ")
    assert said.endswith(f"this is a fault of ddpipe, please report it with {kept}")
    assert "Traceback" in kept.read_text(encoding="utf-8") and "in fault" in kept.read_text(encoding="utf-8")


def test_a_fault_without_room_for_its_traceback(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", denied)
    assert end(fault) == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed and "report it with the lines above" in printed.splitlines()[-1]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)} | more


GONE = [(words, both) for words in ("methods", "explain dm-tiny-1", "--help") for both in (False, True)]


@pytest.mark.parametrize("words, both", [*GONE, ("explain nothing", True)])
def test_a_reader_that_has_gone(words: str, both: bool, project: Project) -> None:
    """As after `| head -1`; with `2>&1` (both) nothing at all can be said."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "ddpipe.cli", *words.split()],
        **{"cwd": project.root, "env": environment(), "stdout": write, "stderr": write if both else subprocess.PIPE},
    )
    os.close(write)
    assert (done.returncode, done.stderr or b"") == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_standard_output_on_a_full_disk(project: Project) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ddpipe.cli", "methods"],
            **{"cwd": project.root, "env": environment(), "stdout": full, "stderr": subprocess.PIPE, "text": True},
        )
    assert done.returncode == 2
    assert done.stderr == "error: cannot use: No space left on device; mend it and run the same command again\n"


def test_a_locale_without_utf_8(project: Project) -> None:
    """Files are UTF-8 whatever the locale says; what it cannot show is shown escaped."""
    path = project.root / DM
    path.write_bytes(path.read_bytes().replace(b"A paper", "Ein Aufsatz über 猫".encode()))
    shutil.rmtree(project.root / "data/results")
    plain = environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    plain.pop("PYTHONIOENCODING", None)
    for words in ("methods", "explain dm-tiny-1", "export dm-tiny-1 out"):
        done = subprocess.run(
            [sys.executable, "-m", "ddpipe.cli", *words.split()],
            **{"cwd": project.root, "env": plain, "capture_output": True, "text": True},
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert words.startswith("export") or "Ein Aufsatz \\xfcber \\u732b" in done.stdout


def test_a_recipe_of_the_wrong_shape_anywhere(project: Project, capsys: Output) -> None:
    """Whatever stands in place of a block, `check` and `methods` have words for it."""
    yaml = (project.root / DM).read_bytes()
    for key in (
        "dm",
        "dm.parts",
        "dm.cells",
        "dm.cells.tiny-1",
        "dm.cells.default",
        "dm.paper",
        "dm.protocol",
        "grid.dm-tiny-1",
    ):
        for value in (None, [], [None], 3, "x", {"a": None}, {1: 2}):
            put(DM, key, value)(project)
            for words in ("check", "methods"):
                code, said = project.run(words), capsys.readouterr().err
                assert code in (0, 2) and "unexpected" not in said, (key, value, said)
            (project.root / DM).write_bytes(yaml)
