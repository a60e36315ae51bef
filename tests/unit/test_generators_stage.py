"""The stage `generators`: what it trains and finds, what it leaves, and the cells that decode by it."""

import shutil
from pathlib import Path

import pytest
import torch

from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.files.artifacts import read_json, read_tensors, write_sealed, write_tensors
from ddpipe.generators import stored
from ddpipe.generators.inversion import Inversion
from ddpipe.generators.training import Adversaries
from tests.unit.small_project import Project

STEPS, INVERTED = 3, 4  # of the GAN; of inversion: two chunks of two


class Stop(BaseException):
    pass


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kind of every step that was taken, in order; its `stop` raises before so many are."""

    class Steps(list):
        stop = 1000

    steps = Steps()
    for kind in (Adversaries, Inversion):

        def noting(run: object, advance=kind.advance, name: str = kind.__name__) -> None:
            if len(steps) == steps.stop:
                raise Stop
            steps.append(name)
            advance(run)

        monkeypatch.setattr(kind, "advance", noting)
    return steps


@pytest.fixture
def stage(project: Project) -> Project:
    shutil.rmtree(project.root / "data/generators")
    return project


def output(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project.root / "data/generators/tiny").iterdir()}


def last(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_what_it_writes(stage: Project, taken: list[str]) -> None:
    assert stage.run("generators", "tiny") == 0
    assert taken == ["Adversaries"] * STEPS + ["Inversion"] * INVERTED
    folder = stage.root / "data/generators/tiny"
    assert {path.name for path in folder.iterdir()} == {stored.ABOUT, stored.WEIGHTS, stored.LATENTS}
    prepared = read_json(stage.root / "data/prepared/tiny/data.json")
    found, about = stored.read(folder, prepared["checksum"])
    assert about["experts"] == read_json(stage.root / "data/experts/tiny/experts.json")["seal"]
    assert (found.sizes.noise, found.sizes.width) == (3, 1)
    labels = read_tensors(stage.root / "data/prepared/tiny/data.safetensors")[0]["train_labels"]
    assert torch.equal(found.rows, labels.argsort(stable=True)), "every training image, class by class"
    assert found.latents.shape == (29, 3) and len(found.latents.unique(dim=0)) == 29
    cost = read_json(stage.root / "data/costs/generators.tiny.json")["costs"][about["seal"]]
    assert cost["seconds"] > 0 and cost["processor_seconds"] > 0 and "CPU" in cost["device"]
    networks = len([path for path in (stage.root / "data/experts/tiny").iterdir() if path.suffix == ".safetensors"])
    assert cost["experts"]["buffer"] == "tiny" and cost["experts"].get("share", 1.0) == 1 / networks
    kept = {path.name for path in (stage.root / "data/checkpoints/generators/tiny").iterdir()}
    assert kept == {"lock", "gan.safetensors", "latents.safetensors"}


@pytest.mark.parametrize("after", range(1, STEPS + INVERTED))
def test_an_interrupted_stage_goes_on_where_it_was(
    stage: Project, taken: list[str], capsys: pytest.CaptureFixture[str], after: int
) -> None:
    assert stage.run("generators", "tiny") == 0
    unbroken = output(stage)
    shutil.rmtree(stage.root / "data/checkpoints")
    shutil.rmtree(stage.root / "data/generators")
    taken.clear()
    taken.stop = after  # type: ignore[attr-defined]
    with pytest.raises(Stop):
        stage.run("generators", "tiny")
    assert not (stage.root / "data/generators/tiny").exists()
    taken.stop = 1000  # type: ignore[attr-defined]
    assert stage.run("generators", "tiny") == 0
    assert len(taken) == STEPS + INVERTED and output(stage) == unbroken
    assert ("resuming at step" in capsys.readouterr().err) == (after != STEPS)


@pytest.mark.parametrize("written", range(STEPS + INVERTED + 2))
def test_a_kill_between_two_files_costs_no_more_than_a_step(
    stage: Project, taken: list[str], monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    assert stage.run("generators", "tiny") == 0
    unbroken, left, write = output(stage), [written], Checkpoints.write
    shutil.rmtree(stage.root / "data/checkpoints")
    shutil.rmtree(stage.root / "data/generators")
    taken.clear()

    def stopping(store: Checkpoints, *args: object, **more: object) -> None:
        if not left[0]:
            raise Stop
        left[0] -= 1
        write(store, *args, **more)

    monkeypatch.setattr(Checkpoints, "write", stopping)
    with pytest.raises(Stop):
        stage.run("generators", "tiny")
    monkeypatch.setattr(Checkpoints, "write", write)
    assert stage.run("generators", "tiny") == 0
    assert len(taken) <= STEPS + INVERTED + 1 and output(stage) == unbroken


def test_other_numbers_of_inversion_keep_the_gan(stage: Project, taken: list[str]) -> None:
    assert stage.run("generators", "tiny") == 0
    before = output(stage)
    taken.clear()
    stage.set("params.yaml", "generators.tiny.inversion.lr", 0.2)
    assert stage.run("generators", "tiny") == 0
    assert taken == ["Inversion"] * INVERTED
    after = output(stage)
    assert after[stored.WEIGHTS] == before[stored.WEIGHTS] and after[stored.LATENTS] != before[stored.LATENTS]
    taken.clear()
    stage.set("params.yaml", "generators.tiny.generator.lr", 0.002)
    assert stage.run("generators", "tiny") == 0
    assert taken == ["Adversaries"] * STEPS + ["Inversion"] * INVERTED
    assert output(stage)[stored.WEIGHTS] != before[stored.WEIGHTS]


def test_other_experts_find_other_latents(stage: Project, taken: list[str]) -> None:
    assert stage.run("generators", "tiny") == 0
    before = output(stage)
    stage.set("params.yaml", "experts.tiny.lr", 0.1)
    assert stage.run("experts", "tiny") == 0
    taken.clear()
    assert stage.run("generators", "tiny") == 0
    assert taken == ["Inversion"] * INVERTED
    assert output(stage)[stored.LATENTS] != before[stored.LATENTS]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (
            "generator.lr",
            "generators.tiny.generator.lr (1e+36) or critic.lr (0.001): a loss of the GAN is not a number",
        ),
        ("critic.lr", "generators.tiny.critic.lr (1e+36) or generator.lr (0.001): a loss of the GAN is not a number"),
    ],
)
def test_what_diverges_names_its_key(stage: Project, capsys: pytest.CaptureFixture[str], key: str, told: str) -> None:
    stage.set("params.yaml", f"generators.tiny.{key}", 1e36)
    assert stage.run("generators", "tiny") == 2
    assert last(capsys).startswith(f"error: {told}")
    assert not (stage.root / "data/generators/tiny").exists()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Adversaries, "generators.tiny.batch: out of memory with 8 images at once; set it to 4"),
        (Inversion, "generators.tiny.inversion.batch: out of memory with 20 images at once; set it to 10"),
    ],
)
def test_out_of_memory_names_the_batch(
    stage: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: type, told: str
) -> None:
    def full(run: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(kind, "advance", full)
    assert stage.run("generators", "tiny") == 2
    assert last(capsys) == f"error: {told}"


def test_experts_of_other_images_are_refused(stage: Project, capsys: pytest.CaptureFixture[str]) -> None:
    path = stage.root / "data/experts/tiny/experts.json"
    write_sealed(path, {k: v for k, v in read_json(path).items() if k != "seal"} | {"data_checksum": "0" * 64})
    assert stage.run("generators", "tiny") == 2
    assert "data/experts/tiny was trained on other images" in last(capsys)
    shutil.rmtree(path.parent)
    assert stage.run("generators", "tiny") == 2
    assert "data/experts/tiny/experts.json does not exist; run `dvc repro experts@tiny`" in last(capsys)


@pytest.fixture
def decoded(project: Project) -> Project:
    """With a cell that decodes by the generator."""
    project.put("itgan")
    return project


def test_a_cell_has_an_example_for_every_training_image(decoded: Project) -> None:
    assert decoded.run("check") == 0
    for words in (("resolve",), ("distill", "itgan-tiny-all"), ("evaluate", "itgan-tiny-all"), ("report", "tiny")):
        assert decoded.run(*words) == 0, words
    folder = decoded.root / "data/distilled/itgan-tiny-all"
    tensors, about = read_tensors(folder / "0.safetensors")[0], read_json(folder / "distilled.json")
    assert tensors["images"].shape == (29, 1, 8, 8) and tensors["targets"].sum(0).tolist() == [12, 12, 5]
    began = read_tensors(decoded.root / "data/generators/tiny/latents.safetensors")[0]["latents"]
    moved = (tensors["code.latents"] - began).abs().amax(1)
    assert bool((moved > 0).any()) and float(moved.max()) < 0.04
    assert about["ipc"] == "all" and about["budget"]["floats"] == sum(
        value.numel() for name, value in tensors.items() if name.startswith("code.")
    )
    cost = next(iter(read_json(decoded.root / "data/costs/itgan-tiny-all.json")["costs"].values()))
    assert cost["generators"]["generator"] == "tiny" and cost["generators"]["seconds"] > 0
    report = (decoded.root / "reports/tiny/table.md").read_text(encoding="utf-8")
    assert "Whole set" in report and "is not an IPC method" in report


def test_a_set_that_stays_as_it_was_inverted_or_drawn(decoded: Project) -> None:
    decoded.set("params.yaml", "methods.itgan", {"iterations": 0})
    assert decoded.run("distill", "itgan-tiny-all") == 0
    path = decoded.root / "data/distilled/itgan-tiny-all/0.safetensors"
    began = read_tensors(decoded.root / "data/generators/tiny/latents.safetensors")[0]["latents"]
    assert torch.equal(read_tensors(path)[0]["code.latents"], began)
    drawn = {"iterations": 0, "synthetic": {"start": "drawn"}, "regulariser": None}
    decoded.set("params.yaml", "methods.itgan", drawn)
    assert decoded.run("check") == decoded.run("distill", "itgan-tiny-all") == 0
    latents = read_tensors(path)[0]["code.latents"]
    assert latents.shape == began.shape and not torch.equal(latents, began)


@pytest.mark.parametrize(
    ("where", "key", "value", "told"),
    [
        (
            "params.yaml",
            "methods.itgan",
            {"synthetic": {"start": "drawn"}},
            "regulariser: 'partners' compares examples",
        ),
        ("params.yaml", "methods.itgan", {"synthetic": {"width": 2}}, "synthetic.width: 2, but generators.tiny has 1"),
        ("params.yaml", "generators.tiny.noise", 4, "synthetic.noise: 3, but generators.tiny has 4"),
        ("params.yaml", "generators.tiny.data", "tyni", "generators.tiny.data: 'tyni' is not under datasets:"),
        ("params.yaml", "generators.tiny.buffer", "tyni", "generators.tiny.buffer: 'tyni' is not under experts:"),
        ("params.yaml", "generators.tiny.width", "wide", "generators.tiny.width: must be a valid integer"),
        ("params.yaml", "generators.tiny.augment", "flip", "generators.tiny.augment: "),
        ("row", "ipc", 5, "has as many images as the data: set it to all"),
        ("row", "needs", "data/prepared/tiny", "decodes by a generator: name data/generators/<generator>"),
        ("row", "needs", "data/generators/tyni", "'tyni' is not under generators:; did you mean 'tiny'?"),
    ],
)
def test_check_finds_what_does_not_fit(
    decoded: Project, capsys: pytest.CaptureFixture[str], where: str, key: str, value: object, told: str
) -> None:
    assert decoded.run("check") == 0
    if where == "row":
        row = "itgan-tiny-5" if key == "ipc" else "itgan-tiny-all"

        def change(content: dict) -> None:
            content["grid"] = {row: content["grid"]["itgan-tiny-all"] | {key: value}}

        decoded.edit("ddpipe/methods/itgan.yaml", change)
    else:
        decoded.set(where, key, value)
    assert decoded.run("check") == 2
    assert told in capsys.readouterr().err


def test_a_generator_that_no_cell_decodes_by_is_idle(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.set("ddpipe/methods/dm.yaml", "grid.dm-tiny-1.needs", "data/generators/tiny")
    assert project.run("check") == 2
    assert "data/generators/tiny, but dm" in capsys.readouterr().err


def damage(folder: Path, how: str) -> None:
    path = folder / stored.LATENTS
    match how:
        case "gone":
            shutil.rmtree(folder)
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "changed":
            tensors = read_tensors(path)[0]
            write_tensors(path, tensors | {"latents": tensors["latents"] + 1})
        case "unsealed":
            (folder / stored.ABOUT).write_text((folder / stored.ABOUT).read_text().replace('"seed": 0', '"seed": 1'))
        case _:
            about = {k: v for k, v in read_json(folder / stored.ABOUT).items() if k != "seal"}
            write_sealed(folder / stored.ABOUT, about | {how: "0" * 64})


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("gone", "data/generators/tiny/generators.json does not exist; run `dvc repro generators@tiny`"),
        ("cut", "latents.safetensors is damaged or cut short"),
        ("changed", "latents.safetensors is damaged or cut short"),
        ("unsealed", "generators.json does not say what was written"),
        ("data_checksum", "was trained on other images or another preprocessing than the cell's data"),
        ("generator", "data/generators/tiny holds the generator of '0000"),
    ],
)
def test_a_generator_that_is_not_as_it_was_written(
    decoded: Project, capsys: pytest.CaptureFixture[str], how: str, told: str
) -> None:
    damage(decoded.root / "data/generators/tiny", how)
    assert decoded.run("distill", "itgan-tiny-all") == 2
    said = last(capsys)
    assert told in said and "dvc repro generators@tiny" in said
    assert not (decoded.root / "data/distilled/itgan-tiny-all").exists()
