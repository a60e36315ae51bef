"""Measured seconds: what they are kept under, how they are continued, what happens to a damaged file."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from ddpipe import config, settings
from ddpipe.planning import calibration, measure
from ddpipe.planning.calibration import Calibration, device_key, predict
from ddpipe.planning.calls import Bench
from ddpipe.planning.estimate import demands
from ddpipe.planning.measure import MEASURES
from ddpipe.planning.steps import RUNS, Step
from ddpipe.settings.shapes import Shape
from ddpipe.settings.work import Operation, Work
from tests.tracked import TRACKED

SHAPE = Shape(1, 8, 3)
NETWORK = settings.ConvNet(kind="convnet", depth=1, width=4)
NORMED = NETWORK.model_copy(update={"norm": "batch"})
LIMITED = settings.Plain(kind="plain", layer="convolution", depth=2, width=4, pooled=(2,))
FORWARD = Operation("forward", SHAPE, NETWORK)
OPTIONS = {
    **dict.fromkeys(("augment", "augment gradient", "siamese", "siamese gradient"), "color_crop"),
    **{"step": "float32", "generate": "4:8:6:4", "recall": "3 / 2"},
    **{"form": "2", "decode": "2 2 2"},
    **dict.fromkeys(("imagine", "judge", "make"), "3 1"),
    **{"weight gradient": "ours", "matching": "ours", "select first": "herding", "select next": "kcenter"},
    **{"kernel": "nngp None", "kernel gradient": "ntk 2000"},
}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "data").mkdir()
    (tmp_path / "params.yaml").write_text("seed: 0\ndatasets: {}\nnetworks: {}\nprotocols: {}\nmethods: {}\n")
    return Bench(torch.device("cpu"), 1, tmp_path)


def work(operation: Operation, n: int, calls: int = 1) -> Work:
    return Counter({(operation, n): calls})


@pytest.mark.parametrize("name", MEASURES)
def test_every_operation_is_measured(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ENOUGH", 0.0)
    network = LIMITED if name.startswith("kernel") else NETWORK
    operation = Operation(name, SHAPE, network, OPTIONS.get(name, ""))
    for n in MEASURES[name].sizes[:2]:
        assert 0 < measure.seconds(bench, operation, n) < 60
    assert not (bench.root / "data/.calibration.tmp").exists()


@pytest.mark.parametrize(
    "operation",
    [
        *(Operation(name, SHAPE, NORMED, OPTIONS.get(name, "")) for name in ("step", "matching", "forward")),
        *(Operation("step", SHAPE, network, "bfloat16", 2) for network in (NETWORK, NORMED)),
        *(Operation("matching", SHAPE, NETWORK, metric) for metric in ("mse", "cos")),
        *(Operation(name, SHAPE, None, "3 1 / color_crop") for name in ("judge", "make")),
        *(Operation("augment", SHAPE, None, strategy) for strategy in ("older:crop_scale", "idc:color_crop_cutout")),
    ],
    ids=lambda operation: operation.key()[:12],
)
def test_other_networks_and_options(operation: Operation, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ENOUGH", 0.0)
    assert measure.seconds(bench, operation, MEASURES[operation.name].sizes[0]) > 0


def test_whatever_a_row_of_digits_asks_for_can_be_timed(bench: Bench) -> None:
    """Of every method: what its parts count is an operation, with an option that its call understands."""
    project = config.load(TRACKED)
    keys = {"experts": list(project.params.experts), "distill": list(project.rows), "evaluate": list(project.rows)}
    steps = [Step(f"{group}@{key}", RUNS) for group, names in keys.items() for key in names if "digits" in key]
    found, unknown = demands(project, steps)
    assert {demand.method for demand in found} >= set(project.recipes) and not unknown
    operations = {operation.key(): operation for demand in found for operation, _ in demand.work}
    for operation in operations.values():
        how = MEASURES[operation.name]
        how.make(bench, operation, how.sizes[0])()


def test_more_images_take_longer(bench: Bench) -> None:
    operation = Operation("weight gradient", Shape(3, 16, 10), settings.ConvNet(kind="convnet", width=16), "ours")
    few, many = (measure.seconds(bench, operation, n) for n in (8, 512))
    assert few < many


# --- between and beyond the sizes measured ----------------------------------------------------------------------------


def test_prediction() -> None:
    points = {8: 3.0, 1: 1.0, 64: 10.0}
    assert predict(points, 8) == 3.0 and predict(points, 1) == 1.0
    assert predict(points, 36) == pytest.approx(6.5)  # half way from 8 to 64
    assert predict(points, 120) == pytest.approx(17.0)  # the last line goes on
    assert predict({8: 3.0}, 16) == 6.0 and predict({8: 3.0}, 2) == 3.0
    assert predict({1: 5.0, 8: 4.0}, 100) == 5.0  # noise does not make more images quicker


def test_work_is_added_up(tmp_path: Path) -> None:
    known = Calibration(tmp_path, "a device")
    known.table[FORWARD.key()] = {1: 1.0, 9: 9.0}
    assert known.seconds(work(FORWARD, 5, 10) + work(FORWARD, 1, 2)) == pytest.approx(52.0)
    assert known.seconds(work(FORWARD, 1) + work(Operation("process"), 1)) is None
    assert known.seconds(Counter()) == 0.0


def test_the_next_size(tmp_path: Path) -> None:
    known, write = Calibration(tmp_path, "a device"), Operation("write")
    assert known.next_size(FORWARD, 100) == 1
    known.table[FORWARD.key()] = {1: 0.001, 8: 0.002}
    assert known.next_size(FORWARD, 100) == 64 and known.next_size(FORWARD, 8) is None
    known.table[FORWARD.key()] = {1: 0.001, 8: 0.2}
    assert known.next_size(FORWARD, 100) is None  # 64 images would take longer than a second
    known.table[write.key()] = {1000: 0.02}
    assert known.next_size(write, 10**6) == 4_000_000  # what waits for the disk is not proportional to its bytes


# --- the cache --------------------------------------------------------------------------------------------------------


def test_the_key_holds_what_the_time_depends_on() -> None:
    same = Operation("forward", Shape(1, 8, 3), settings.ConvNet(kind="convnet", depth=1, width=4))
    assert same.key() == FORWARD.key()
    others = [
        Operation("matching", SHAPE, NETWORK),
        Operation("forward", Shape(3, 8, 3), NETWORK),
        Operation("forward", Shape(1, 16, 3), NETWORK),
        Operation("forward", Shape(1, 8, 10), NETWORK),
        Operation("forward", SHAPE, NETWORK.model_copy(update={"width": 8})),
        Operation("forward", SHAPE, NETWORK, "bfloat16"),
        Operation("forward", SHAPE, NETWORK, "", 2),
    ]
    assert len({FORWARD.key(), *(other.key() for other in others)}) == 8


def test_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    first = device_key("CPU x86_64, 1 threads")
    assert "1 threads" in first and torch.__version__.split("+")[0] in first and calibration.processor() in first
    monkeypatch.setattr(calibration, "version", lambda package: "0.0")
    assert device_key("CPU x86_64, 1 threads") != first != device_key("CPU x86_64, 2 threads")


def test_what_was_measured_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ENOUGH", 0.0)
    first = Calibration(bench.root, "a device")
    first.measure([work(FORWARD, 20), work(FORWARD, 3)], bench)
    assert sorted(first.table[FORWARD.key()]) == [1, 8, 64]
    monkeypatch.setattr(calibration, "seconds", lambda *arguments: pytest.fail("measured again"))
    again = Calibration(bench.root, "a device")
    again.measure([work(FORWARD, 64)], bench)
    assert again.table == first.table and again.seconds(work(FORWARD, 20)) == first.seconds(work(FORWARD, 20))
    assert Calibration(bench.root, "another device").missing([work(FORWARD, 20)]) == {FORWARD: 20}


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[]", '{"a": []}', "[" * 100_000, '{"a": {"forward": {}}}', '{"a": {"forward": {"one": 1}}}'),
        *(
            f'{{"a": {{"b": {{"1": {said}}}}}}}'
            for said in ("null", "NaN", "0", "-1.0", "1e300", "1e999", "true", '"1"')
        ),
        *(f'{{"a": {{"b": {{"{n}": 1.0}}}}}}' for n in ("0", "-1", "1.5", "9" * 400)),
    ],
)
def test_a_damaged_file_is_measured_again(content: str, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    path = bench.root / calibration.FILE
    path.write_text(content)
    known = Calibration(bench.root, "a device")
    assert f"{path} is damaged: what it held is measured again" in capsys.readouterr().err
    known.measure([work(FORWARD, 1)], bench)
    assert Calibration(bench.root, "a device").table == known.table != {}


def test_what_does_not_fit_into_memory_is_left_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def seconds(bench: Bench, operation: Operation, n: int) -> float:
        if n > 1:
            raise RuntimeError("CUDA out of memory")
        return 0.001

    monkeypatch.setattr(calibration, "seconds", seconds)
    known = Calibration(bench.root, "a device")
    known.measure([work(FORWARD, 20), work(Operation("process"), 1)], bench)
    assert "forward of 8 images is too much for the memory" in capsys.readouterr().err
    assert known.seconds(work(FORWARD, 20)) == pytest.approx(0.02)
    monkeypatch.setattr(calibration, "seconds", lambda *arguments: [][0])
    with pytest.raises(IndexError):
        known.measure([work(FORWARD, 20)], bench)


def test_a_kill_keeps_the_operations_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No handler runs then, so that they are kept before the next one begins."""
    kept = []

    def seconds(bench: Bench, operation: Operation, n: int) -> float:
        kept.append(len(Calibration(bench.root, "a device").table))
        return 10.0

    monkeypatch.setattr(calibration, "seconds", seconds)
    operations = [work(Operation("forward", option=str(number)), 1) for number in range(3)]
    Calibration(bench.root, "a device").measure(operations, bench)
    assert kept == [0, 1, 2]


def test_an_interruption_keeps_what_was_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(bench: Bench, operation: Operation, n: int) -> float:
        if n > 1:
            raise KeyboardInterrupt
        return 0.001

    monkeypatch.setattr(calibration, "seconds", seconds)
    with pytest.raises(KeyboardInterrupt):
        Calibration(bench.root, "a device").measure([work(FORWARD, 20)], bench)
    assert Calibration(bench.root, "a device").table == {FORWARD.key(): {1: 0.001}}
