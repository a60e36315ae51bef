"""Foreign and hostile distilled sets, seals and digests fitting: each ends in a sentence, none in numbers."""
# ruff: noqa: E501 (a row of the table is one line)

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ddpipe
from ddpipe.errors import UserError
from ddpipe.files.artifacts import read_tensors, write_sealed
from tests.unit.small_project import Project, reseal

Make = Callable[[Path], object]  # what is done to a folder
DM, RANDOM = "dm-tiny-1", "random-tiny-1"
NAN, INF = float("nan"), float("inf")


def says(**about: Any) -> Make:
    return lambda folder: reseal(folder, about)


def without(key: str) -> Make:
    def make(folder: Path) -> None:
        old = json.loads((folder / "distilled.json").read_text())
        write_sealed(folder / "distilled.json", {k: v for k, v in old.items() if k not in (key, "seal")})

    return make


def fitted(**change: Any) -> Make:
    """A preprocessing that says something else; null takes a key out."""

    def make(folder: Path) -> None:
        said = json.loads((folder / "distilled.json").read_text())["preprocessing"] | change
        reseal(folder, {"preprocessing": {key: value for key, value in said.items() if value is not ...}})

    return make


def tensors(file: str, **change: Any) -> Make:
    """Other tensors: a tensor, a function of the old one, or ... for none."""

    def make(folder: Path) -> None:
        name = file.removeprefix("set_")
        found = read_tensors(folder / f"{name}.safetensors")[0]
        for key, value in change.items():
            found[key] = value(found[key]) if callable(value) else value
        reseal(folder, **{file: {key: value for key, value in found.items() if value is not ...}})

    return make


def learned(**change: Any) -> Make:
    return tensors("set_0", **change)


def put(value: float) -> Callable[[Tensor], Tensor]:
    """`value` in the place of the first number."""
    return lambda x: torch.cat([torch.tensor([value], dtype=x.dtype), x.flatten()[1:]]).view_as(x)


def raw(file: str, content: bytes) -> Make:
    """Bytes that no writer makes, with a digest that fits."""

    def make(folder: Path) -> None:
        (folder / file).write_bytes(content)
        if file != "distilled.json":
            reseal(folder)

    return make


def header(tensors: Any, data: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text + data


def factorised(contents: Tensor) -> Make:
    return learned(contents=contents)


def f32(*shape: int) -> Tensor:
    return torch.full(shape, 0.5)


WHITENING = {"regularisation": 0.1, "relative": False, "centred": True, "ddof": 1}


def whitened(matrix: Tensor, centre: Tensor) -> Make:
    def make(folder: Path) -> None:
        tensors("preprocessing", matrix=matrix, centre=centre)(folder)
        fitted(whitening=WHITENING)(folder)

    return make


SETS = {
    # images
    "double": learned(images=Tensor.double), "half": learned(images=Tensor.half), "bytes": learned(images=Tensor.byte),
    "bfloat16": learned(images=Tensor.bfloat16), "booleans": learned(images=Tensor.bool),
    "flat images": learned(images=lambda x: x.flatten(1)), "one image": learned(images=lambda x: x[0]),
    "five axes": learned(images=lambda x: x[None]), "a scalar": learned(images=torch.tensor(1.0)),
    "no image": learned(images=lambda x: x[:0], targets=lambda x: x[:0]), "fewer images": learned(images=lambda x: x[:2]),
    "three channels": learned(images=lambda x: x.expand(-1, 3, -1, -1)), "no channel": learned(images=lambda x: x[:, :0]),
    "oblong": learned(images=lambda x: x[..., :7]), "no pixel": learned(images=lambda x: x[..., :0, :0]),
    "NaN": learned(images=put(NAN)), "infinite": learned(images=put(INF)), "minus infinite": learned(images=put(-INF)),
    "no images": learned(images=...), "nothing": learned(images=..., targets=..., loss=...),
    # targets
    "no targets": learned(targets=...), "labels": learned(targets=torch.arange(3)), "two classes": learned(targets=lambda x: x[:, :2]),
    "four classes": learned(targets=f32(3, 4)), "integers": learned(targets=Tensor.long), "double targets": learned(targets=Tensor.double),
    "zero targets": learned(targets=torch.zeros_like), "twos": learned(targets=lambda x: 2 * x), "halves": learned(targets=lambda x: x / 2),
    "negative": learned(targets=torch.tensor([[2.0, -1, 0]] * 3)), "NaN targets": learned(targets=put(NAN)),
    "infinite targets": learned(targets=put(INF)), "fewer targets": learned(targets=lambda x: x[:2]),
    # the rest of a set
    "unknown tensor": learned(extra=f32(1)), "long name": learned(**{"x" * 5000: f32(1)}), "rows too": learned(rows=torch.arange(3)),
    "NaN loss": learned(loss=put(NAN)), "square loss": learned(loss=f32(2, 2)), "text-like loss": learned(loss=torch.arange(3)),
    "hint of two": learned(**{"hint.lr": f32(2)}), "NaN hint": learned(**{"hint.lr": torch.tensor(NAN)}),
    "hint in integers": learned(**{"hint.lr": torch.tensor(1)}), "code NaN": learned(**{"code.bases": put(NAN)(f32(2))}),
    "contents in floats": factorised(f32(3)), "few contents": factorised(torch.zeros(2, dtype=torch.int64)),
    "negative contents": factorised(torch.tensor([-1, 0, 1])), "contents with a gap": factorised(torch.tensor([0, 2, 2])),
    "huge contents": factorised(torch.tensor([0, 1, 2**62])), "uneven contents": factorised(torch.tensor([0, 0, 1])),
    # files that are none
    "empty file": raw("0.safetensors", b""), "text": raw("0.safetensors", b"hello, world"), "zeros": raw("0.safetensors", bytes(100)),
    "huge header": raw("0.safetensors", b"\xff" * 16), "header of a list": raw("0.safetensors", header([])),
    "deep header": raw("0.safetensors", header({})[:8] + b"[" * 100_000),
    "promises": raw("0.safetensors", header({"images": {"dtype": "F32", "shape": [2**40, 1], "data_offsets": [0, 2**42]}})),
    "overflow": raw("0.safetensors", header({"images": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 0]}})),
    "nothing of much": raw("0.safetensors", header({"images": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}})),
    "unknown dtype": raw("0.safetensors", header({"images": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, bytes(4))),
    "eight bits": raw("0.safetensors", header({"images": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}}, bytes(4))),
    "four bits": raw("0.safetensors", header({"images": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}, bytes(4))),
    # preprocessing
    "no preprocessing": says(preprocessing=None), "empty preprocessing": says(preprocessing={}), "preprocessing of text": says(preprocessing="standard"),
    "no scale": tensors("preprocessing", scale=...), "zero scale": tensors("preprocessing", scale=torch.zeros_like),
    "NaN scale": tensors("preprocessing", scale=put(NAN)), "other scale": tensors("preprocessing", scale=lambda x: 2 * x),
    "three scales": tensors("preprocessing", scale=lambda x: x.expand(3, 1, 1)), "flat scale": tensors("preprocessing", scale=Tensor.flatten),
    "other shift": tensors("preprocessing", shift=lambda x: x + 1), "double shift": tensors("preprocessing", shift=Tensor.double),
    "a norm": tensors("preprocessing", norm=torch.tensor(1.0)), "no norm": fitted(per_image=True),
    "whitening without": fitted(whitening=WHITENING), "whitening that is none": fitted(whitening={"regularisation": 0.0}),
    "zero matrix": whitened(torch.zeros(64, 64), torch.zeros(64)), "oblong matrix": whitened(f32(64, 63), f32(64)),
    "lopsided matrix": whitened(torch.ones(64, 64).triu(), f32(64)), "matrix of other images": whitened(torch.eye(49), f32(49)),
    "matrix of no image": whitened(torch.eye(65), f32(65)), "NaN matrix": whitened(torch.eye(64).fill_diagonal_(NAN), f32(64)),
    "std of zero": fitted(std=[0.0]), "std of nothing": fitted(std=[]), "two means": fitted(mean=[0.1, 0.2]), "mean of text": fitted(mean=["a"]),
    "other mean": fitted(mean=[0.9]), "no std": fitted(std=...), "unknown key": fitted(gamma=2.2), "unknown way": fitted(standardise="how"),
    "extra file": lambda folder: (says(files={**json.loads((folder / "distilled.json").read_text())["files"], "../x": "0" * 64})(folder)),
    # what distilled.json says
    "list": raw("distilled.json", b"[]"), "number": raw("distilled.json", b"1"), "null": raw("distilled.json", b"null"), "no JSON": raw("distilled.json", b"{"),
    "no UTF-8": raw("distilled.json", b'{"cell": "\xff\xfe"}'), "deep JSON": raw("distilled.json", b"[" * 100_000), "deep": raw("distilled.json", b'{"a":' * 300 + b"1" + b"}" * 300),
    "many digits": raw("distilled.json", b'{"sets": ' + b"9" * 5000 + b"}"), "NaN in it": raw("distilled.json", b'{"sets": NaN}'), "beyond bounds": raw("distilled.json", b'{"sets": 1e999, "seal": ""}'),
    "no seal": raw("distilled.json", b'{"sets": 1}'), "seal of another type": raw("distilled.json", b'{"seal": {}}'),
    **{f"{key} {value!r:.20}": says(**{key: value}) for key, values in {
        "sets": (0, -1, 2, 10**18, 10**400, True, 1.5, "1", None, []), "classes": ([], ["0"], ["0", "1"], ["0", "1", "2", "3"], [0, 1, 2], [None] * 3, "012", None, {"0": 1}),
        "cell": ("../up", "", "a b", 3, None, "dc-tiny-1"), "data": ("../../etc", "/etc", "tyni"), "ipc": (0, -1, True, "one", 2, "all", 1e300), "method": ("dc", None),
        "dataset": ("digits",), "network": ("other", []), "recipe": ("dc",), "seed": (1, -1, "0"), "data_checksum": ("0" * 64, "", None), "files": ({}, None, {"0.safetensors": 1}),
        "settings": ({}, None, {"kind": "selection", "rule": "random"}), "budget": (None, {}, {"floats": -1, "images_per_class": 1.0}, {"floats": 1, "images_per_class": 1e300}),
        "more": (1,),
    }.items() for value in values},
    **{f"no {key}": without(key) for key in ("cell", "sets", "files", "classes", "preprocessing", "data", "data_checksum", "settings", "budget")},
}  # fmt: skip
ROWS = {
    "beyond": torch.tensor([0, 1, 29]), "far beyond": torch.tensor([0, 1, 2**62]), "negative row": torch.tensor([-1, 1, 2]),
    "twice": torch.tensor([1, 1, 2]), "no rows": torch.zeros(0, dtype=torch.int64), "rows in floats": f32(3),
    "rows of 32 bits": torch.arange(3, dtype=torch.int32), "square rows": torch.zeros(2, 2, dtype=torch.int64), "a mask": torch.ones(29, dtype=torch.bool),
}  # fmt: skip
OTHER = ("cell 'dc", "data 'tyni'", "ipc 2", "ipc 'all'", "method 'dc'", "dataset", "network 'o", "recipe", "seed 1", "data_checksum '0", "settings {")  # fmt: skip


@pytest.fixture(scope="module")
def shared(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("hostile") / "project"
    shutil.copytree(finished_project, root)
    return Project(root)


def refused(shared: Project, cell: str, make: Make, capsys: pytest.CaptureFixture[str], own_data: bool) -> None:
    """The stage and `ddpipe.load` end in a sentence about the folder; a set of other data may be loaded by itself."""
    folder = shared.root / "data/distilled" / cell
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    try:
        make(folder)
        before = shared.outputs()
        capsys.readouterr()
        code, (line, *more) = shared.run("evaluate", cell), capsys.readouterr().err.splitlines()
        assert code == 2 and not more and line.startswith("error: ") and str(folder.relative_to(shared.root)) in line
        assert "; " in line and len(line) < 1000 and shared.outputs() == before
        if own_data:
            with pytest.raises(UserError, match=cell):
                ddpipe.load(folder)
    finally:
        for path, content in whole.items():
            path.write_bytes(content)


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_refused_whole_and_in_a_sentence(name: str, shared: Project, capsys: pytest.CaptureFixture) -> None:
    refused(shared, DM, SETS[name], capsys, own_data=not name.startswith(OTHER))


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_those_of_the_data(name: str, shared: Project, capsys: pytest.CaptureFixture) -> None:
    refused(shared, RANDOM, learned(rows=ROWS[name]), capsys, own_data=True)


def test_what_is_as_it_was_is_taken(shared: Project) -> None:
    """The tools of this file change nothing by themselves."""
    for cell in (DM, RANDOM):
        folder = shared.root / "data/distilled" / cell
        before = shared.outputs()
        reseal(folder, set_0=read_tensors(folder / "0.safetensors")[0])
        assert shared.outputs() == before and shared.run("evaluate", cell) == 0
        ddpipe.load(folder)
