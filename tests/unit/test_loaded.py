"""What a loaded set carries, and `ddpipe.evaluate`: the accuracies of the report, bit for bit."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ddpipe
from ddpipe import augmentation, config, settings
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.errors import UserError
from ddpipe.evaluation import Examination, balanced, class_means
from ddpipe.evaluation.examination import score
from ddpipe.files.artifacts import read_tensors, write_tensors
from tests.unit.small_project import Project, reseal

SMALL = {"kind": "convnet", "depth": 3, "width": 4, "norm": "batch", "initialisation": "default"}
DEEP = {"kind": "resnet", "block": "basic", "blocks": [1] * 4, "widths": [4] * 4, "norm": "batch"}
DEEP |= {"downsampling": "stride", "initialisation": "he"}
KEYS = {"epochs", "extra_epoch", "lr", "momentum", "weight_decay", "drop", "drop_resets_momentum", "augment"}


def loaded(project: Project, cell: str = "dm-tiny-1", number: int = 0) -> Any:
    return ddpipe.load(project.root / "data/distilled" / cell, number)


def result(project: Project, name: str = "dm-tiny-1.small.quick") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.root / f"data/results/tiny/{name}.json").read_bytes())
    return found


def learned(project: Project, lr: float) -> None:
    folder = project.root / "data/distilled/dm-tiny-1"
    reseal(folder, set_0=read_tensors(folder / "0.safetensors")[0] | {"hint.lr": torch.tensor(lr)})
    project.set("params.yaml", "protocols.quick.learned_lr", True)


def styled(project: Project) -> None:
    parts = {"name": "hallucinator", "hallucinators": 3}
    outer = {"images": None} | {k: {"lr": lr, "momentum": 0.0} for k, lr in (("bases", 1.0), ("hallucinators", 0.01))}
    project.set("params.yaml", "methods.dm", {"synthetic": parts, "excess": True, "outer": outer})
    assert project.run("distill", "dm-tiny-1") == 0


MADE = {
    "as it is": lambda project: None,
    "learned step size": lambda project: learned(project, 0.05),
    "styles": styled,
    "two at once": lambda project: project.set("params.yaml", "run.together", 2),
    "unequal classes": lambda project: unequal(project),
}


def unequal(project: Project, test: tuple[int, ...] = (8, 3, 1)) -> None:
    """Other numbers of test images of the classes."""
    labels = np.repeat(np.arange(len(test)), test)
    images = np.random.default_rng(1).integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    project.npz(test_images=images, test_labels=labels)
    for words in ("prepare tiny", "distill dm-tiny-1", "distill random-tiny-1"):
        assert project.run(*words.split()) == 0


CASES = [("dm-tiny-1", made) for made in MADE]
CASES += [("random-tiny-1", "as it is"), ("random-tiny-1", "unequal classes"), ("herding-tiny-1", "two at once")]


@pytest.mark.parametrize(("cell", "made"), CASES)
def test_accuracies_are_those_of_the_report(cell: str, made: str, project: Project) -> None:
    MADE[made](project)
    project.set("params.yaml", "protocols.quick.networks", 3)
    assert project.run("evaluate", cell) == 0
    report = result(project, f"{cell}.small.quick")
    found = [ddpipe.evaluate(loaded(project, cell, number)) for number in range(report["sets"])]
    assert [list(each.accuracies) for each in found] == report["accuracies"]
    assert np.mean([each.mean for each in found]) == pytest.approx(report["mean"])
    assert np.mean([each.balanced for each in found]) == pytest.approx(report["balanced"])
    classes = [[each.per_class[name] for name in "012"] for each in found]
    assert np.mean(classes, 0) == pytest.approx(report["per_class"])
    assert str(found[0]).startswith(f"{found[0].mean:.2f} +- {found[0].std:.2f} % of 3 networks")


def test_other_networks_and_protocols(project: Project) -> None:
    chosen = loaded(project)
    further = ddpipe.evaluate(chosen, network="other", protocol="again")
    assert list(further.accuracies) == result(project, "dm-tiny-1.other.again")["accuracies"][0]
    five = ddpipe.evaluate(chosen, networks=5)
    assert five.accuracies[:1] == ddpipe.evaluate(chosen).accuracies and len(set(five.accuracies)) > 1
    params = config.load(project.root).params
    rules = params.protocols["quick"].model_copy(update={"epochs": 3})
    numbers = rules.model_dump(exclude={"exceptions"})
    network = params.networks["other"].model_dump()
    by_numbers = ddpipe.evaluate(chosen, network=network, protocol=numbers, networks=4)
    assert by_numbers == ddpipe.evaluate(chosen, network=params.networks["other"], protocol=rules, networks=4)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"network": "othr"}, "networks.othr: unknown network; did you mean 'other'"),
        ({"protocol": "quik"}, "protocols.quik: unknown protocol; did you mean 'quick'"),
        ({"network": {"kind": "convnet", "deep": 3}}, "network.deep: unknown key"),
        ({"network": SMALL | {"depth": 9}}, "depth 9 of the convnet halves 8x8 images to nothing"),
        ({"protocol": {"epochs": 3}}, "protocol.lr: this key is missing"),
        ({"protocol": {"kind": "replay", "networks": 1}}, "protocol: it needs the hint lr"),
        ({"networks": 0}, "networks: 0 networks have no accuracy; ask for at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured(given: dict[str, Any], told: str, project: Project) -> None:
    with pytest.raises(UserError) as error:
        ddpipe.evaluate(loaded(project), **given)
    assert told in str(error.value)


def test_divergence_and_one_image_at_a_time_are_sentences(project: Project) -> None:
    rules = config.load(project.root).params.protocols["quick"]
    with pytest.raises(UserError, match="^protocol.lr: training a network with 1e.30 gave"):
        ddpipe.evaluate(loaded(project), protocol=rules.model_copy(update={"lr": 1e30, "epochs": 4}))
    with pytest.raises(UserError, match="^protocol.batch: 2 at a time, one of 3 images is alone"):
        ddpipe.evaluate(loaded(project), network=DEEP, protocol=rules.model_copy(update={"batch": 2}))
    training = settings.SetTraining.model_validate(rules.model_dump(include=KEYS) | {"batch": 2})
    ridge = settings.Ridge(kind="ridge", regularisation=1e-6, networks=1, training=training)
    with pytest.raises(UserError, match="^protocol.training.batch: 2 at a time, one of 3 images is alone"):
        ddpipe.evaluate(loaded(project), network=DEEP, protocol=ridge)


def test_lack_of_memory_is_a_sentence(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Examination, "scores", failing)
    with pytest.raises(UserError, match="^protocol.batch: out of memory .* set it to 1$"):
        ddpipe.evaluate(loaded(project))


def test_what_was_changed_is_what_is_measured(project: Project) -> None:
    project.set("params.yaml", "protocols.quick.networks", 4)
    chosen = loaded(project)
    upside_down = replace(chosen, targets=chosen.targets.roll(1, 1))
    assert ddpipe.evaluate(upside_down).accuracies != ddpipe.evaluate(chosen).accuracies


def test_the_program_around_it_keeps_its_threads(project: Project) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        ddpipe.evaluate(loaded(project))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_what_it_carries(project: Project) -> None:
    project.set("params.yaml", "protocols.quick.exceptions.tiny", {"epochs": 5})
    chosen, data = loaded(project), Prepared.load(project.root / "data/prepared/tiny")
    assert chosen.protocol.epochs == 5 and chosen.rates() == pytest.approx([0.01] * 4 + [0.001])
    images, labels = chosen.test()
    assert torch.equal(images, data.preprocessing.apply(data.test_images)) and torch.equal(labels, data.test_labels)
    networks = [chosen.network(ddpipe.generator("mine", number)) for number in (0, 0, 1)]
    logits = [network(images) for network in networks]
    assert networks[0].training and torch.equal(logits[0], logits[1]) and not torch.equal(logits[0], logits[2])
    policy, rng = augmentation.make("color_crop", flip=False), ddpipe.generator("batch")
    expected = policy(images, policy.draw(rng, 12, 8, 8))
    assert torch.equal(chosen.augment(images, ddpipe.generator("batch")), expected)
    state = torch.random.get_rng_state()
    chosen.augment(images, rng)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_random_numbers_come_from_a_generator(project: Project) -> None:
    chosen = loaded(project)
    for asked in (lambda: chosen.network(0), lambda: chosen.augment(chosen.images, None)):
        with pytest.raises(
            UserError, match=r'^random numbers: .* is no torch.Generator; ddpipe.generator\("any name"\)'
        ):
            asked()
    assert chosen.augment(chosen.images, ddpipe.generator("any name")).shape == chosen.images.shape


def test_flips_are_those_of_the_data(project: Project) -> None:
    project.set("params.yaml", "protocols.quick.augment", "flip_crop")
    images = torch.arange(64.0).view(1, 1, 8, 8)
    rows = [loaded(project).augment(images, ddpipe.generator(number))[0, 0, 4] for number in range(30)]
    assert all(bool((row[1:-1].diff() >= -40).all()) and row[3] < row[4] for row in rows), "no row runs backwards"


def test_the_learned_step_size_is_its_rate(project: Project) -> None:
    learned(project, 0.25)
    assert loaded(project).protocol.lr == 0.25 and loaded(project).rates() == [0.25, 0.25]


def test_rules_without_passes(project: Project) -> None:
    rules = {"kind": "ridge", "regularisation": 0.1, "networks": 1, "training": None}
    project.set("params.yaml", "protocols.quick", rules)
    chosen, images = loaded(project), torch.rand(2, 1, 8, 8)
    with pytest.raises(UserError, match="kind ridge trains in no passes with rates; `ddpipe.evaluate` measures by it"):
        chosen.rates()
    assert torch.equal(chosen.augment(images, ddpipe.generator(0)), images)
    assert len(ddpipe.evaluate(chosen).accuracies) == 1


# --- elsewhere --------------------------------------------------------------------------------------------------------


def test_outside_a_project(project: Project, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(project.root / "data/distilled/dm-tiny-1", tmp_path / "a/b/c/alone"))
    chosen, inside = ddpipe.load(alone), loaded(project)
    for asked in (lambda: chosen.protocol, chosen.rates, lambda: ddpipe.evaluate(chosen)):
        with pytest.raises(UserError, match="alone lies in no project .*project=FOLDER, where params.yaml lies"):
            asked()
    numbers = {"network": inside.home.network()[1], "protocol": inside.protocol}
    with pytest.raises(UserError, match="alone needs the prepared data 'tiny', and .* prepared=FOLDER"):
        ddpipe.evaluate(chosen, **numbers)
    with pytest.raises(UserError, match="prepared=FOLDER"):
        chosen.test()
    supplied = ddpipe.load(alone, prepared=project.root / "data/prepared/tiny")
    assert ddpipe.evaluate(supplied, **numbers, networks=3) == ddpipe.evaluate(inside, **numbers, networks=3)
    named = ddpipe.load(alone, project=project.root)
    assert ddpipe.evaluate(named) == ddpipe.evaluate(inside) and torch.equal(named.test()[0], inside.test()[0])


def test_a_coreset_says_what_it_needs_and_that_helps(project: Project) -> None:
    shutil.rmtree(project.root / "data/prepared/tiny")
    with pytest.raises(UserError, match="random-tiny-1 needs the prepared data 'tiny', .*run `dvc repro prepare@tiny`"):
        loaded(project, "random-tiny-1")
    assert len(loaded(project)) == 3, "learned images need nothing"
    assert project.run("prepare", "tiny") == 0
    assert len(loaded(project, "random-tiny-1")) == 3


def test_other_prepared_data_are_refused(project: Project) -> None:
    project.npz(test_labels=np.repeat([0, 1, 2], 4)[::-1].copy())
    assert project.run("prepare", "tiny") == 0
    with pytest.raises(UserError, match="was made from other images"):
        loaded(project).test()
    with pytest.raises(UserError, match="was made from other images"):
        ddpipe.evaluate(loaded(project))


# --- classes ----------------------------------------------------------------------------------------------------------


def test_each_class_counts_the_same_in_the_balanced_accuracy(project: Project) -> None:
    chosen = loaded(project)
    network = chosen.network(ddpipe.generator(0))
    torch.nn.init.zeros_(network.classifier.weight)
    with torch.no_grad():
        network.classifier.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    labels = torch.tensor([0] * 9 + [1] * 3)
    test = Resident(torch.zeros(12, 1, 8, 8, dtype=torch.uint8), labels, chosen.preprocessing)
    found = score(network, test, 3)
    assert found == (75.0, (100.0, 0.0, None)) and balanced(found.per_class) == 50.0
    assert class_means([(100.0, 0.0, None), (50.0, 10.0, None)]) == [75.0, 5.0, None]
    unequal(project, (9, 2, 1))
    measured = ddpipe.evaluate(loaded(project), networks=3)
    classes = [value for value in measured.per_class.values() if value is not None]
    assert measured.balanced == pytest.approx(sum(classes) / 3)
    assert measured.mean == pytest.approx((9 * classes[0] + 2 * classes[1] + classes[2]) / 12)


def test_networks_that_earlier_versions_kept_are_made_again(project: Project) -> None:
    file = project.root / "data/results/tiny/dm-tiny-1.small.quick.json"  # else it is taken as it lies there
    file.unlink()
    assert project.run("evaluate", "dm-tiny-1") == 0
    [path] = (project.root / "data/checkpoints/evaluate/dm-tiny-1.small.quick").rglob("0.safetensors")
    whole = result(project)
    tensors, meta = read_tensors(path)
    write_tensors(path, tensors, {key: value for key, value in meta.items() if key not in ("per_class", "seal")})
    file.unlink()
    assert project.run("evaluate", "dm-tiny-1") == 0
    assert all(result(project)[key] == whole[key] for key in ("accuracies", "per_class", "balanced"))


def test_what_is_no_set_is_refused_and_a_set_shows_itself_in_a_line(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    for call, sentence in (
        (lambda: ddpipe.load(None), "takes the folder of a cell"),
        (lambda: ddpipe.load("data/distilled"), "data/distilled is no distilled set: name the folder of a cell"),
        (lambda: ddpipe.load("params.yaml"), "params.yaml is no distilled set"),
        (lambda: ddpipe.evaluate("data/distilled/dm-tiny-1"), "ddpipe.load"),
        (lambda: ddpipe.evaluate(ddpipe.load("data/distilled/dm-tiny-1"), networks=1.5), "networks: 1.5 is no number"),
    ):
        with pytest.raises(UserError, match=re.escape(sentence)):
            call()
    assert repr(ddpipe.load("data/distilled/dm-tiny-1")) == "<set 0 of dm-tiny-1: 3 examples of 1x8x8, 3 classes>"
