"""Experts, every kind of evaluation and checkpoints run on a device, with the CPU's numbers."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.evaluation import Examination, TrainingSet
from ddpipe.evaluation.styles import Styles
from ddpipe.experts.training import Cohort, features, real_batches
from ddpipe.randomness import Streams, generator
from ddpipe.selections.choice import Choice, pick
from ddpipe.settings.part import records as records_of
from ddpipe.settings.protocols import records
from ddpipe.training.batch import Batch, rows_of
from tests.contracts.compositions import STRATEGY, advanced, equal, of, run_of

CLASSES, SIDE, V = 3, 8, 12
PLAIN = settings.ConvNet(kind="convnet", depth=2, width=4)
LIMITED = settings.Plain(kind="plain", layer="convolution", depth=1, width=4, pooled=(1,))  # with a kernel
TRAINED = {"epochs": 2, "lr": 0.05, "batch": 5, "drop": "half"}

PROTOCOLS: dict[str, dict[str, Any]] = {
    "trained": TRAINED | {"augment": STRATEGY},
    "trained, bfloat16": TRAINED | {"precision": "bfloat16"},
    "trained, cutmix": TRAINED | {"cutmix": 1.0, "augment": "idc:color_crop_cutout_flip_scale_rotate"},
    "trained, older": TRAINED | {"augment": "older:crop_scale_rotate"},
    "trained, milder": TRAINED | {"augment": "frepo:flip_color_crop_rotate_translate_cutout"},
    "trained, steps": {"steps": 3, "criterion": "squared-error", "learned_lr": True},
    "replay": {},
    "ridge": {"regularisation": 0.01},
    "ridge, trained": {"regularisation": 0.01, "training": TRAINED},
    "kernel": {"networks": 1, "regularisation": 0.01},
    "centred": {"label_scale": 4.0, "pull": 0.01, "steps": 4, "validation": 3, "every": 2, "patience": 4},
    "critical": TRAINED | {"lr": 0.5, "criterion": "squared-error", "images": 7},
    "regressed": {"learned_steps": True, "batch": 5, "mixing": 0.1},
}
NETWORKS = {
    "plain": PLAIN,
    "batch norm": PLAIN.model_copy(update={"norm": "batch"}),
    "resnet": settings.ResNet(kind="resnet", blocks=(1,), widths=(4,), norm="batch", initialisation="he"),
}


def real_images(device: torch.device | str, n: int = 15) -> Resident:
    images = torch.randint(256, (n, 1, SIDE, SIDE), generator=generator("device")).byte()
    return Resident(images, torch.arange(n) % CLASSES, fit(images, settings.Dataset(source="digits")), device)


def known(device: torch.device | str, styles: Styles | None = None) -> TrainingSet:
    draw = generator("set")
    images = torch.randn(V, 1, SIDE, SIDE, generator=draw).to(device)
    targets = torch.rand(V, CLASSES, generator=draw).softmax(1).to(device)
    hints = {"lr": torch.tensor([0.05, 0.1]), "blocks": torch.arange(V) % 2, "steps": torch.tensor(4.0)}
    examples = V if styles is None else len(styles)
    return TrainingSet(rows_of(Batch(images, targets)), examples, hints, styles, real=lambda _: real_images(device))


def learned(protocol: settings.Protocol, network: settings.Network, device: torch.device | str, size: int) -> Any:
    """The weights of networks that know the set, and how they do."""
    data = known(device)
    if isinstance(protocol, settings.Trained) and protocol.learned_lr:
        data.hints["lr"] = torch.tensor(0.05)  # type: ignore[index]
    examination = Examination(network, protocol, real_images(device), CLASSES, True)
    streams = [Streams("device", number) for number in range(size)]
    examination.gather(size)
    members = examination.rule.fit(examination.group, data, streams)
    weights = [torch.cat([p.detach().flatten().cpu() for p in member.state_dict().values()]) for member in members]
    return weights, examination.accuracies(data, streams)


def test_every_kind_of_protocol_is_tried():
    assert {name.partition(",")[0] for name in PROTOCOLS} == set(records())


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_networks_learn_on_a_device_what_they_learn_on_the_cpu(name, size, device):
    kind = name.partition(",")[0]
    protocol = records()[kind].model_validate({"kind": kind} | PROTOCOLS[name])
    if size > protocol.networks:
        pytest.skip("nothing of it is drawn")
    network = LIMITED if kind == "kernel" else PLAIN
    here, there = (learned(protocol, network, place, size) for place in ("cpu", device))
    loose = 0.05 if "bfloat16" in name else 1e-4
    for mine, theirs in zip(here[0], there[0], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=loose, atol=loose)
    assert here[1] == there[1] or loose > 1e-4


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_so_do_networks_of_every_normalisation(name, size, device):
    protocol = settings.Trained.model_validate(TRAINED)
    here, there = (learned(protocol, NETWORKS[name], place, size) for place in ("cpu", device))
    for mine, theirs in zip(here[0], there[0], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_a_factorised_set_is_seen_in_its_styles(device):
    def seen(place: torch.device | str) -> list[Tensor]:
        data = known(place, Styles(torch.arange(V) // 2))
        return [part.cpu() for part in data.seen_by(Streams("styles"))(torch.arange(4))]

    assert all(torch.equal(mine, theirs) for mine, theirs in zip(seen("cpu"), seen(device), strict=True))


EXPERTS: dict[str, dict[str, Any]] = {
    "plain": {"augment": STRATEGY},
    "flat": {"flat": {"rho": 0.05, "alpha": 0.5}, "momentum": 0.9},
    "cutmix": {"cutmix": 1.0, "precision": "bfloat16"},
}


def cohort(numbers: dict[str, Any], size: int, device: torch.device | str) -> Cohort:
    rules = {"data": "none", "network": "none", "networks": 1, "epochs": 3, "lr": 0.05, "batch": 6, "momentum": 0.0}
    real = real_images(device)
    network = networks.build(PLAIN, 1, SIDE, CLASSES, device)
    streams = [Streams("experts", number) for number in range(size)]
    config = settings.Experts.model_validate(rules | numbers)
    return Cohort(config, network, real_batches(real, CLASSES), len(real.labels), True, streams)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", EXPERTS)
def test_experts_learn_there_what_they_learn_here_and_go_on_from_a_file(name, size, device, tmp_path):
    here, there = cohort(EXPERTS[name], size, "cpu"), cohort(EXPERTS[name], size, device)
    for made in (here, there):
        made.advance()
    store = Checkpoints(tmp_path, "f")
    store.write("expert", there.state_dict())
    resumed = cohort(EXPERTS[name], size, device)
    resumed.load_state_dict(store.read("expert")[0])  # type: ignore[index]
    for made in (here, there, resumed):
        made.advance()
    assert torch.equal(there.snapshots(), resumed.snapshots())
    loose = 0.05 if "precision" in EXPERTS[name] else 1e-4
    torch.testing.assert_close(there.snapshots(), here.snapshots(), rtol=loose, atol=loose)


SAVED = {
    "warm": (
        "gradient-ours",
        "trained",
        "decoder",
        "none",
        {"warm": {"objective": {"name": "reconstruction"}, "iterations": 1}},
    ),
    "average": ("trajectory-soft", "experts", "hallucinator", "contrast", {"average": 0.9}),
    "rates": ("unroll-judged", "fresh", "generator", "none", {"clip": {"norm": 1.0}}),
    "labels": ("regression", "restarted", "pixels-real", "none", {}),
}


@pytest.mark.usefixtures("buffers")
@pytest.mark.parametrize("name", SAVED)
def test_a_run_goes_on_from_a_checkpoint(name, device, tmp_path):
    *parts, more = SAVED[name]
    chosen = of(parts[0], parts[1], STRATEGY, parts[2], parts[3], **more)
    unbroken, store = advanced(run_of(chosen, device=device), 2), Checkpoints(tmp_path, "f")
    store.write("set", unbroken.state_dict())
    resumed = run_of(chosen, device=device)
    resumed.load_state_dict(store.read("set")[0])  # type: ignore[index]
    ends = [advanced(run, 2) for run in (unbroken, resumed)]
    assert equal(*({name: tensor.cpu() for name, tensor in run.state_dict().items()} for run in ends))
    for run in ends:
        run.check_finite()
        run.finish()
        assert all(tensor.cpu().isfinite().all() for tensor in run.hints().values())
        assert all(tensor.device.type == device.type for tensor in run.synthetic.codes().values())


@pytest.mark.parametrize("name", records_of("selections"))
def test_a_selection_chooses_there_what_it_chooses_here(name, device):
    def chosen(place: torch.device | str) -> Tensor:
        real, network = real_images(place), networks.build(PLAIN, 1, SIDE, CLASSES, place)
        networks.initialise_(network, generator("selection"))
        found = Choice(real.class_index, 2, generator("choice"), lambda: features(network, real))
        return pick(records_of("selections")[name].model_validate({}), found)

    assert torch.equal(chosen("cpu"), chosen(device))
