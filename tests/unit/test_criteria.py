"""Criteria, steps in place of epochs, and the exported program's own version of every rule."""

from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import Preprocessing
from ddpipe.datasets.resident import Resident
from ddpipe.distilled.bundle import kind_of
from ddpipe.distilled.export import training as exported
from ddpipe.distilled.standalone import program
from ddpipe.errors import UserError
from ddpipe.evaluation import TrainingSet
from ddpipe.evaluation.rule import make, module_of
from ddpipe.evaluation.styles import Styles
from ddpipe.evaluation.trained import words
from ddpipe.randomness import Streams, generator
from ddpipe.settings.protocols import records
from ddpipe.settings.reading import validate
from ddpipe.training.batch import Batch
from ddpipe.training.criteria import CRITERIA
from ddpipe.training.loop import passes, rate

CLASSES, SIDE, V = 3, 8, 12
SMALL = settings.ConvNet(kind="convnet", depth=1, width=4)
IMAGES = torch.randn(V, 1, SIDE, SIDE, generator=generator("criteria"))
SOFT = torch.rand(V, CLASSES, generator=generator("criteria targets")).softmax(1)
PIXELS = torch.randint(256, (9, 1, SIDE, SIDE), generator=generator("criteria real")).byte()
REAL = Resident(
    PIXELS, torch.arange(9) % CLASSES, Preprocessing(torch.full((1, 1, 1), 1 / 64), torch.full((1, 1, 1), -2.0))
)
NUMBERS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.001, "batch": 5, "drop": "never", "augment": "none"}


def learned(scale: settings.Scale = "one-hot", **hints: torch.Tensor) -> TrainingSet:
    targets = SOFT if scale == "one-hot" else SOFT - 1 / CLASSES
    return TrainingSet(lambda index: Batch(IMAGES[index], targets[index]), V, hints, None, scale, lambda count: REAL)


def end(protocol: settings.Protocol, data: TrainingSet, size: int = 1) -> list[torch.Tensor]:
    """The weights of the networks that know `data`."""
    rule = make(protocol, flip=True)
    group = rule.gather(networks.build(SMALL, 1, SIDE, CLASSES), size)
    members = rule.fit(group, data, [Streams("criteria", number) for number in range(size)])
    return [nn.utils.parameters_to_vector(network.parameters()).detach().clone() for network in members]


def test_the_formulas() -> None:
    outputs = torch.randn(4, CLASSES, generator=generator("outputs"))
    targets = SOFT[:4]
    expected = sum(0.5 * sum((o - t) ** 2 for o, t in zip(row, want)) for row, want in zip(outputs, targets)) / 4  # noqa: B905
    torch.testing.assert_close(CRITERIA["squared-error"](outputs, targets), torch.as_tensor(expected))
    assert torch.equal(CRITERIA["cross-entropy"](outputs, targets), F.cross_entropy(outputs, targets))


@pytest.mark.parametrize("size", [1, 2])
def test_squared_errors_are_taken_from_centred_targets(size: int) -> None:
    rules = settings.Trained.model_validate(NUMBERS | {"epochs": 3, "criterion": "squared-error"})
    found = end(rules, learned(), size)
    for one, other in zip(found, end(rules, learned("centred"), size), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found[0], end(rules.model_copy(update={"criterion": "cross-entropy"}), learned())[0])
    if size == 2:
        torch.testing.assert_close(found[0], end(rules, learned())[0], rtol=1e-3, atol=1e-5)


def test_centred_targets_of_a_factorised_set() -> None:
    styles = Styles(torch.arange(V) // 2)
    data = TrainingSet(lambda index: Batch(IMAGES[index], SOFT[index]), len(styles), {}, styles)
    batch = data.scores().seen_by(Streams("styles"))(torch.arange(len(styles)))
    torch.testing.assert_close(batch.targets.sum(1), torch.zeros(len(styles)), atol=1e-6, rtol=0)
    assert data.size == V and data.n == V // 2


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_steps_are_counted_in_place_of_epochs(steps: int) -> None:
    """A pass has three batches; four passes end where twelve steps do, and fewer steps are a beginning of these."""
    rules = settings.Trained.model_validate(NUMBERS | {"steps": steps})
    seen: list[int] = []

    def fetch(index: torch.Tensor | slice) -> Batch:
        assert isinstance(index, torch.Tensor)
        seen.extend(index.tolist())
        return Batch(IMAGES[index], SOFT[index])

    announced: list[int] = []
    rule = make(rules, flip=True)
    group = rule.gather(networks.build(SMALL, 1, SIDE, CLASSES), 1)
    rule.fit(group, TrainingSet(fetch, V), [Streams("criteria", 0)], lambda: announced.append(0))
    assert len(announced) == steps == rule.ticks
    assert Counter(rules.taken(V)) == Counter(+Counter({5: steps - steps // 3, 2: steps // 3}))
    assert len(seen) == sum(images * calls for images, calls in rules.taken(V).items())
    assert sorted(seen[:V]) == list(range(V))[: len(seen)] or len(seen) < V
    whole = end(settings.Trained.model_validate(NUMBERS | {"epochs": 4}), learned())[0]
    assert torch.equal(whole, end(settings.Trained.model_validate(NUMBERS | {"steps": 12}), learned())[0])


def test_the_learning_rate_of_steps() -> None:
    rules = settings.Trained.model_validate(NUMBERS | {"steps": 12, "drop": "staged"}).paced()
    assert passes(rules) == 12
    assert [rate(rules, number) for number in (7, 8, 9, 10)] == pytest.approx([0.1, 0.02, 0.02, 0.004])


ADAM = {key: value for key, value in NUMBERS.items() if key != "momentum"} | {
    "optimizer": "adam",
    "betas": [0.9, 0.999],
}
REGRESSED = settings.Regressed(kind="regressed", learned_steps=True, batch=5)
LEARNED = ADAM | {"learned_steps": True, "subsets": True}


def test_steps_that_were_learned_on_subsets_drawn_anew() -> None:
    """LD's (Bohdal et al., 2020): as many as the set says, each on random examples, whatever the last ones saw."""
    seen: list[torch.Tensor] = []

    def fetch(index: torch.Tensor | slice) -> Batch:
        assert isinstance(index, torch.Tensor)
        seen.append(index)
        return Batch(IMAGES[index], SOFT[index])

    rules = settings.Trained.model_validate(LEARNED)
    rule, announced = make(rules, flip=True), []
    group = rule.gather(networks.build(SMALL, 1, SIDE, CLASSES), 1)
    data = TrainingSet(fetch, V, {"steps": torch.tensor(40.0)})
    rule.fit(group, data, [Streams("criteria", 0)], lambda: announced.append(0))
    assert rule.ticks == len(announced) == 1, "how many steps it will be is not known before"
    assert [len(set(rows.tolist())) for rows in seen] == [5] * 40
    assert set(torch.cat(seen).tolist()) == set(range(V))
    assert any(set(a.tolist()) & set(b.tolist()) for a, b in zip(seen[::2], seen[1::2], strict=True)), "no passes"
    assert rules.taken(V) is None and rules.taken(V, {"steps": 40}) == Counter({5: 40}) == rules.taken(5, {"steps": 40})
    stated = settings.Trained.model_validate(LEARNED | {"learned_steps": False, "steps": 40})
    assert torch.equal(end(stated, learned())[0], end(rules, learned(steps=torch.tensor(40.0)))[0])
    assert stated.taken(V) == Counter({5: 40})


@pytest.mark.parametrize("steps", [0.0, 0.5, float("nan"), float("inf"), -3.0])
def test_a_senseless_number_of_steps_is_refused(steps: float) -> None:
    rule = make(settings.Trained.model_validate(LEARNED), flip=True)
    with pytest.raises(UserError, match="^learned_steps: set 0 says to train for .* steps; distil it again, or state"):
        rule.check({"steps": torch.tensor(steps)}, V, "set 0")


@pytest.mark.parametrize("rules", [settings.Trained.model_validate(LEARNED), REGRESSED])
def test_a_set_without_a_number_of_steps_is_refused(rules: settings.Protocol) -> None:
    assert rules.counted(V, {}) is None and rules.counted(V, {"steps": 7}) == Counter({5: 7})
    assert rules.requires == {"steps": ""} and rules.refusal("it", {"steps": ""}, "one-hot") is None
    assert (
        rules.refusal("it", {"lr": ""}, "one-hot") == "needs the hint steps (one number) of the set, but it leaves none"
    )


def test_the_exported_program_draws_subsets_anew() -> None:
    hints = {"steps": torch.tensor(40.0)}
    told = exported(settings.Trained.model_validate(LEARNED), True, hints)
    seen: list[list[int]] = []

    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(SIDE**2, CLASSES)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append([int((image == IMAGES).flatten(1).all(1).nonzero()) for image in images])
            return self.layer(images.flatten(1))

    about = {"training": told, "classes": ["a", "b", "c"], "targets": "one-hot"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # noqa: TID251 (the program's own generator)
        import_module("ddpipe.distilled.standalone.trained").learn(
            Looking(), about, {"images": IMAGES, "targets": SOFT}
        )
    assert [len(set(rows)) for rows in seen] == [5] * 40 and set(sum(seen, [])) == set(range(V))
    assert any(set(a) & set(b) for a, b in zip(seen[::2], seen[1::2], strict=True)), "no passes"
    text = "\n".join(words(told, False))
    assert "40 steps in batches of 5: random examples drawn anew for each" in text
    assert "How many was learned with the set (`hint_steps`)." in text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"learned_steps": True, "steps": 3, "subsets": True}, "learned_steps takes the place of epochs and steps"),
        ({"learned_steps": True}, "x.subsets: this key is missing; add it"),
        ({"epochs": 3, "extra_epoch": False, "subsets": True}, "subsets are of no meaning with epochs"),
        ({"epochs": 3, "steps": 3}, "epochs or steps must be a number above 0, and not both"),
        ({"steps": 3, "extra_epoch": True}, "extra_epoch is of no meaning with steps"),
        ({"extra_epoch": False}, "x.epochs: this key is missing; add it, or steps or learned_steps in its place"),
        ({"epochs": 3}, "x.extra_epoch: this key is missing"),
        ({"steps": 3, "criterion": "mse"}, "x.criterion: must be 'cross-entropy' or 'squared-error', not 'mse'"),
    ],
)
def test_mistakes_in_what_is_counted(change: dict, told: str) -> None:
    with pytest.raises(UserError) as error:
        validate(settings.AnyProtocol, NUMBERS | {"networks": 1} | change, "x")
    assert told in str(error.value)
    stated = NUMBERS | {"networks": 1, "steps": 3}
    assert validate(settings.AnyProtocol, stated, "x").steps == 3


# --- the exported program ---------------------------------------------------------------------------------------------


PROTOCOLS: dict[str, settings.Protocol] = {
    "trained": settings.Trained.model_validate(NUMBERS | {"epochs": 3, "batch": 20}),
    "steps": settings.Trained.model_validate(NUMBERS | {"steps": 4, "batch": 20, "drop": "staged"}),
    "learned steps": settings.Trained.model_validate(LEARNED | {"batch": 20}),
    "regressed": settings.Regressed(kind="regressed", learned_steps=True, batch=20, lr=0.01, mixing=0.1),
    "centred": settings.Centred(
        kind="centred", lr=0.1, label_scale=4.0, pull=0.01, steps=12, validation=3, every=2, patience=4
    ),
    "critical": settings.Critical.model_validate(
        NUMBERS | {"kind": "critical", "lr": 0.5, "epochs": 3, "batch": 20, "criterion": "squared-error", "images": 7}
    ),
    "hard": settings.Trained.model_validate(NUMBERS | {"epochs": 3, "batch": 20, "hard": True}),
    "hard and squared": settings.Trained.model_validate(
        NUMBERS | {"epochs": 2, "batch": 20, "criterion": "squared-error", "hard": True}
    ),
    "squared": settings.Trained.model_validate(NUMBERS | {"epochs": 2, "batch": 20, "criterion": "squared-error"}),
    "replay": settings.Replay(kind="replay"),
    "replay with momenta": settings.Replay(kind="replay"),
    "squared replay": settings.Replay(kind="replay", criterion="squared-error"),
    "ridge": settings.Ridge(kind="ridge", regularisation=0.01),
    "trained ridge": settings.Ridge(
        kind="ridge",
        regularisation=0.01,
        training=settings.SetTraining.model_validate(NUMBERS | {"epochs": 3, "batch": 20}),
    ),
}


@pytest.mark.parametrize("contents", [None, torch.arange(V) % 4], ids=["plain", "factorised"])
@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name in PROTOCOLS for scale in PROTOCOLS[name].scales])
def test_the_exported_program_does_the_same(
    name: str, scale: settings.Scale, contents: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without augmentation, in batches that hold the whole set, nothing is random but the first weights and styles."""
    protocol = PROTOCOLS[name]
    hints = {"lr": torch.tensor([0.3, 0.1, 0.2]), "blocks": torch.tensor([0.0, 1.0] * (V // 2))}
    hints |= {"steps": torch.tensor(5.0)}
    if name == "replay with momenta":
        hints["momentum"] = torch.tensor([0.5, 0.9, 1.1])
    data = learned(scale, **hints)
    about = {
        **{"network": SMALL.model_dump(), "shape": [1, SIDE, SIDE], "classes": ["a", "b", "c"], "targets": scale},
        "training": exported(protocol, True, hints),
    }
    arrays = {f"hint_{key}": value for key, value in hints.items()}
    arrays |= dict(zip(("images", "targets"), data.fetch(slice(0, V)), strict=True))
    arrays |= {"validation_images": REAL.images, "validation_labels": REAL.labels}
    if contents is not None:
        styles, arrays["contents"] = Styles(contents), contents
        data = replace(data, n=len(styles), styles=styles)
        turns = [(draw % 3 for draw in range(1000)) for _ in range(2)]  # of ddpipe, which gives a generator, and of it
        monkeypatch.setattr(
            torch, "randint", lambda high, size, generator=None: torch.full(size, next(turns[generator is None]))
        )
    fresh = program.network(about)
    drawn = networks.create(SMALL, 1, SIDE, CLASSES, Streams("criteria", 0)("init"))
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(drawn.parameters()), fresh.parameters())
    monkeypatch.setattr(program, "network", lambda about: fresh)
    learn = import_module(f"ddpipe.distilled.standalone.{kind_of(protocol)}").learn
    alone = nn.utils.parameters_to_vector(program.train(about, arrays, learn).parameters()).detach()
    torch.testing.assert_close(alone, end(protocol, data)[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_words_of_a_factorised_set(name: str) -> None:
    protocol = PROTOCOLS[name]
    told = exported(protocol, True, {"steps": torch.tensor(5.0)})
    text = {factorised: " ".join(module_of(protocol).words(told, factorised)) for factorised in (False, True)}
    batches = protocol.kind != "replay" and bool(protocol.counted(V, {"steps": 5}))
    assert ("one randomly drawn example shows a base" in text[True]) == batches
    assert "base" not in text[False]


def test_every_kind_has_a_record_and_a_module_of_its_name() -> None:
    kinds = records()
    assert {"trained", "replay", "ridge"} <= kinds.keys()
    folder = Path(program.__file__).parents[2] / "evaluation"
    for kind, record in kinds.items():
        assert record.model_fields["kind"].annotation.__args__ == (kind,)  # type: ignore[union-attr]
        assert (folder / f"{kind}.py").is_file()
    elsewhere = {"Kernel"}  # test_kernel_ridge.py: it trains no network
    tried = {type(protocol).__name__ for protocol in PROTOCOLS.values()} | elsewhere
    assert tried == {kind.__name__ for kind in kinds.values()}
