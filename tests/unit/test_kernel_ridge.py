"""Ridge regression with the kernel of an infinitely wide network: as a protocol, and by the exported program."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from ddpipe import networks, settings
from ddpipe.checks.kernels import kernels as check
from ddpipe.config import load
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distilled.export import training as exported
from ddpipe.distilled.standalone import kernel as alone
from ddpipe.distilled.standalone import program
from ddpipe.errors import UserError
from ddpipe.evaluation import Examination, TrainingSet
from ddpipe.evaluation.rule import make
from ddpipe.kernels import Recursion, cross, own
from ddpipe.randomness import Streams, generator
from ddpipe.settings.networks import limit
from ddpipe.training.batch import Batch
from tests.tracked import ROOT

CLASSES, SIDE, V = 3, 8, 6
IMAGES = torch.randn(V, 2, SIDE, SIDE, generator=generator("kernel ridge"))
SOFT = torch.rand(V, CLASSES, generator=generator("kernel ridge targets")).softmax(1)
UNSEEN = torch.randn(7, 2, SIDE, SIDE, generator=generator("kernel ridge test"))
NETWORKS: dict[str, settings.Network] = {
    "dense": settings.Plain(kind="plain", layer="dense", depth=2, width=4),
    "plain": settings.Plain(kind="plain", layer="convolution", depth=3, width=4),
    "pooled": settings.Plain(kind="plain", layer="convolution", depth=3, width=4, pooled=(1, 3)),
    "mean": settings.Plain(kind="plain", layer="convolution", depth=2, width=4, pooled=(1,), readout="mean"),
    "convnet": settings.ConvNet(
        kind="convnet", depth=2, width=4, norm="none", first_padding=1, prepended=True, initialisation="kernel"
    ),
}
every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def learned(scale: settings.Scale = "one-hot") -> TrainingSet:
    targets = SOFT if scale == "one-hot" else SOFT - 1 / CLASSES
    return TrainingSet(lambda index: Batch(IMAGES[index], targets[index]), V, {}, None, scale)


def rules(kernel: str = "ntk") -> settings.Kernel:
    return settings.Kernel(kind="kernel", kernel=kernel, regularisation=1e-3, networks=1, chunk=3000)


@every_network
@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
@pytest.mark.parametrize("scale", ["one-hot", "centred"])
def test_answers_are_those_of_the_formula_and_of_the_exported_program(network, kernel, scale):
    protocol = rules(kernel)
    rule = make(protocol, flip=True)
    group = rule.gather(networks.build(network, 2, SIDE, CLASSES), 1)
    (machine,) = rule.fit(group, learned(scale), [Streams("kernel ridge")])
    answers = machine(UNSEEN)
    recursion, x = Recursion(limit(network), kernel), IMAGES.double()
    k = own(recursion, x, 10**6)
    system = k + 1e-3 * k.trace() / V * torch.eye(V)
    wanted = cross(recursion, UNSEEN.double(), x, 10**6) @ torch.linalg.solve(system, SOFT.double() - 1 / CLASSES)
    torch.testing.assert_close(answers, wanted, rtol=1e-4, atol=1e-5)

    about = {
        **{"network": network.model_dump(), "shape": [2, SIDE, SIDE], "classes": ["a", "b", "c"], "targets": scale},
        "training": exported(protocol, True, {}),
    }
    arrays = dict(zip(("images", "targets"), learned(scale).fetch(slice(0, V)), strict=True))
    net = program.train(about, arrays, alone.learn)
    torch.testing.assert_close(net(UNSEEN), wanted, rtol=1e-6, atol=1e-7)


@every_network
@pytest.mark.parametrize("side", [8, 9, 14])
def test_the_exported_kernel_is_that_of_the_pipeline(network, side):
    """Two implementations, one by distances of pixels and one in packed pairs."""
    x, y = (torch.randn(n, 2, side, side, generator=generator(n), dtype=torch.float64) for n in (3, 2))
    about = {"network": network.model_dump(), "training": {"kernel": "ntk"}}
    torch.testing.assert_close(
        alone.kernel(x, y, about), cross(Recursion(limit(network)), x, y, 5000), rtol=1e-12, atol=0
    )


def test_an_examination_measures_it_once():
    pixels = torch.randint(256, (20, 2, SIDE, SIDE), generator=generator("pixels")).byte()
    test = Resident(pixels, torch.arange(20) % CLASSES, fit(pixels, settings.Dataset(source="digits")))
    examination = Examination(NETWORKS["plain"], rules(), test, CLASSES, flip=False)
    (score,) = examination.scores(learned(), [Streams("kernel ridge")])
    assert 0 <= score.accuracy <= 100
    assert score == examination.scores(learned("centred"), [Streams("another")])[0], "nothing is drawn"
    assert examination.at_once(settings.Run(), learned(), None) == 1


def test_a_kernel_is_measured_once():
    with pytest.raises(ValidationError, match="networks must be 1: nothing of a kernel is drawn"):
        settings.Kernel(kind="kernel", networks=3)


@pytest.mark.parametrize(
    "change", [{"norm": "instance"}, {"initialisation": "lecun"}, {"first_padding": 3}, {"first_padding": None}]
)
def test_a_network_without_a_kernel_is_refused(change):
    network = NETWORKS["convnet"].model_copy(update=change)
    assert limit(network) is None
    with pytest.raises(
        UserError, match="^network: the network has no kernel at infinite width; name one of kind plain"
    ):
        make(rules(), True).gather(networks.build(network, 2, SIDE, CLASSES), 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"layer": "dense", "pooled": (1,)}, "pooled and readout are for convolutions"),
        ({"layer": "dense", "readout": "mean"}, "pooled and readout are for convolutions"),
        ({"pooled": (3,)}, "pooled must number some of the 2 convolutions"),
        ({"pooled": (2, 1)}, "from 1 on, upwards"),
    ],
)
def test_plain_networks_that_mean_nothing_are_refused(change, told):
    with pytest.raises(ValidationError, match=told):
        settings.Plain.model_validate({"kind": "plain", "layer": "convolution", "depth": 2} | change)


def test_check_names_rows_whose_network_has_none():
    config = load(ROOT)
    assert list(check(config)) == []
    without = config.params.networks | {"fc1": settings.ConvNet(kind="convnet")}
    found = list(check(replace(config, params=config.params.model_copy(update={"networks": without}))))
    assert "grid.kip-digits-1.student: 'fc1' has no kernel at infinite width; name one of kind plain, or" in found[0]
    told = "evaluations.random-digits-1-fc1-kip-kernel.network: 'fc1' has no kernel at infinite width"
    assert any(sentence.startswith(told) for sentence in found)
    assert not any("-fc1-kip.network" in sentence for sentence in found), "a finite network is trained there"
