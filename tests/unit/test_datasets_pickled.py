"""The restricted unpickler: plain data comes out, everything else is refused and nothing is executed."""

import io
import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from ddpipe.datasets.readers import pickled
from ddpipe.errors import UserError
from tests.unit.original_files import cifar_batches, md5, noise, python2_pickle


def load(content: bytes) -> dict:
    return pickled.load("data_batch_1", io.BytesIO(content), md5(content))


def same(found, expected) -> bool:
    if isinstance(expected, np.ndarray):
        return found.dtype == expected.dtype and np.array_equal(found, expected)
    return found == expected and type(found) is type(expected)


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("order", "CF")
def test_plain_data_comes_out_as_it_went_in(protocol, order):
    value = {"data": np.asarray(noise(3, 4), order=order), "labels": [3, 1], "names": ["a", "é"], "n": 2}
    value |= {"mean": np.linspace(0, 1, 5), "small": np.arange(3, dtype="<i2"), "big": np.arange(3, dtype=">i4")}
    found = load(pickle.dumps(value, protocol=protocol))
    assert found.keys() == value.keys() and all(same(found[key], value[key]) for key in value)


def test_python_2_pickles_as_the_archives_have_them():
    value = cifar_batches("cifar10", 2)["data_batch_1"]
    content = python2_pickle(value)
    opcodes = {opcode.name for opcode, _, _ in pickletools.genops(content)}
    assert {"BINSTRING", "SHORT_BINSTRING", "GLOBAL"} <= opcodes and not opcodes & {"BINUNICODE", "BINBYTES"}
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content
    found = load(content)
    assert found.keys() == value.keys() and all(same(found[key], value[key]) for key in value)


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(marker: Path) -> dict[str, bytes]:
    """Programs that would leave `marker` behind, and other things that are no plain data."""
    make = f"__import__('os').mkdir({str(marker)!r})"
    name = f"X{len(str(marker)):c}\0\0\0{marker}".encode()
    return {
        "eval": pickle.dumps({"data": Runs(eval, make)}),
        "exec, protocol 0": pickle.dumps({"data": Runs(exec, make)}, protocol=0),
        "system": pickle.dumps(Runs(os.system, f"mkdir {marker}")),
        "mkdir": pickle.dumps({"data": [Runs(os.mkdir, str(marker))]}, protocol=4),
        "instance": b"(" + name + b"iposix\nmkdir\n.",
        "numpy's own": pickle.dumps({"data": Runs(np.save, str(marker), np.arange(3))}),
        "a path in numpy": b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.",
        "objects": pickle.dumps({"data": np.array([1, "a"], dtype=object)}),
        "structure": pickle.dumps({"data": np.zeros(2, dtype=[("a", "u1")])}),
        "other codec": b"c_codecs\nencode\n(X\1\0\0\0aX\5\0\0\0rot13tR.",
        "state of a function": b"c_codecs\nencode\n}b.",
        "slots of a class": b"cnumpy\nndarray\nN}X\1\0\0\0aK\1s\x86b.",
        "class": pickle.dumps({"data": Runs}),
        "extension": b"\x82\x01.",
        "persistent": b"Pname\n.",
        "no dictionary": pickle.dumps([1, 2]),
        "shape": python2_pickle({"data": noise(3, 4)}).replace(b"K\x03K\x04\x86", b"K\x03K\x05\x86"),
    }


@pytest.mark.parametrize("attack", sorted(hostile(Path("/tmp"))))
def test_hostile_pickles_are_refused_and_run_nothing(tmp_path, attack):
    content = hostile(tmp_path / "marker")[attack]
    before = {name: dict(vars(each)) for name, each in vars(pickled).items() if isinstance(each, type)}
    with pytest.raises(UserError, match="^data_batch_1 is not a pickled dictionary of plain .*; replace it"):
        load(content)
    assert not list(tmp_path.iterdir())
    assert before == {name: dict(vars(each)) for name, each in vars(pickled).items() if isinstance(each, type)}


def test_the_attacks_are_real(tmp_path):
    """Python's own unpickler runs them."""
    for attack in ("eval", "exec, protocol 0", "system", "mkdir", "instance"):
        pickle.loads(hostile(tmp_path / "marker")[attack])
        (tmp_path / "marker").rmdir()


def test_damage_is_a_sentence():
    whole = python2_pickle({"data": noise(3, 4), "labels": [1, 2, 3]})
    for content in (b"", b"\x80", whole[:-1], whole[: len(whole) // 2], b"text", whole.replace(b"u1", b"V1")):
        with pytest.raises(UserError, match="^data_batch_1 is not a pickled dictionary"):
            load(content)


def test_nothing_is_interpreted_before_the_checksum(tmp_path, monkeypatch):
    monkeypatch.setattr(pickled, "Restricted", None)
    with pytest.raises(UserError, match=f"data_batch_1 is damaged or another file: its MD5 is {md5(b'N.')}, not 0123;"):
        pickled.load("data_batch_1", io.BytesIO(b"N."), "0123")
