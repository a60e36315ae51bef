"""Every optimiser beside torch.optim's or the published formula, its state, and its settings."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ddpipe import settings
from ddpipe.randomness import generator
from ddpipe.training import optimizers
from ddpipe.training.optimizers import Optimizer

SHAPES = [(3, 4), (5,), (2, 3, 1, 1), ()]
STEPS = 5
NAMES = get_args(settings.Optimizer.model_fields["optimizer"].annotation)


def normal(name: str, number: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    rng = generator("optimizers", name, number)
    return [torch.randn(shape, generator=rng, dtype=dtype) for shape in SHAPES]


def rules(name: str, **numbers) -> settings.Optimizer:
    own = {"momentum": 0.9} if name == "sgd" else {"betas": (0.8, 0.99)}
    return settings.Optimizer(**{"optimizer": name, "lr": 0.1, **own, **numbers})


def walked(optimizer: Optimizer, first: int = 0, last: int = STEPS) -> None:
    kind = optimizer.parameters[0].dtype
    for number in range(first, last):
        gradients = normal("gradient", number, kind)
        kept = [g.clone() for g in gradients]
        optimizer.step(gradients)
        assert all(torch.equal(g, k) for g, k in zip(gradients, kept, strict=True))


def follow(oracle: torch.optim.Optimizer, parameters: list[Tensor]) -> None:
    for number in range(STEPS):
        for parameter, gradient in zip(parameters, normal("gradient", number), strict=True):
            parameter.grad = gradient
        oracle.step()


def check(config: settings.Optimizer, oracle: Callable[[list[Tensor]], torch.optim.Optimizer]) -> None:
    mine, theirs = normal("start", 0), [p.requires_grad_() for p in normal("start", 0)]
    walked(optimizers.make(config, mine))
    follow(oracle(theirs), theirs)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-13, atol=0)


@pytest.mark.parametrize("momentum, weight_decay", list(itertools.product([0.0, 0.5, 0.9], [0.0, 5e-4])))
def test_sgd_is_torchs(momentum, weight_decay):
    numbers = {"lr": 0.1, "momentum": momentum, "weight_decay": weight_decay}
    check(settings.Optimizer(**numbers), lambda parameters: torch.optim.SGD(parameters, **numbers))


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("name", "oracle"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_adam_is_torchs(name, oracle, weight_decay):
    config = rules(name, weight_decay=weight_decay, eps=1e-5)
    numbers = {"lr": 0.1, "betas": (0.8, 0.99), "eps": 1e-5, "weight_decay": weight_decay}
    check(config, lambda parameters: oracle(parameters, **numbers))


def formula(name: str, p: Tensor, gradients: list[Tensor], decay: float, eps: float) -> Tensor:
    """LAMB's and AdaBelief's steps, as their papers and the codes of FRePo and RFAD have them."""
    m, s = torch.zeros_like(p), torch.zeros_like(p)
    for t, g in enumerate(gradients, 1):
        g = g + decay * p if name == "adabelief" else g
        m = 0.8 * m + 0.2 * g
        s = 0.99 * s + 0.01 * ((g - m) ** 2 if name == "adabelief" else g**2)
        s = s + eps if name == "adabelief" else s
        move = m / (1 - 0.8**t) / ((s / (1 - 0.99**t)).sqrt() + eps)
        if name == "lamb":
            move = move + decay * p
            own, length = move.square().sum().sqrt(), p.square().sum().sqrt()
            move = move * length / own if own > 0 and length > 0 else move
        p = p - 0.1 * move
    return p


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("eps", [1e-16, 1e-3])
@pytest.mark.parametrize("name", ["lamb", "adabelief"])
def test_formulas(name, eps, decay):
    mine = normal("start", 0)
    walked(optimizers.make(rules(name, eps=eps, weight_decay=decay), mine))
    gradients = zip(*(normal("gradient", number) for number in range(STEPS)), strict=True)
    for p, start, own in zip(mine, normal("start", 0), gradients, strict=True):
        torch.testing.assert_close(p, formula(name, start, list(own), decay, eps), rtol=1e-12, atol=0)


def test_lamb_steps_by_the_length_of_the_parameter():
    parameter = torch.full((4,), 3.0)
    optimizers.make(rules("lamb", lr=0.01), [parameter]).step([torch.tensor([1.0, -2.0, 5.0, 0.1])])
    assert float((parameter - 3).norm() / 6) == pytest.approx(0.01, rel=1e-5)


@pytest.mark.parametrize(("parameter", "gradient"), [(0.0, 1.0), (1.0, 0.0)])
def test_lamb_where_a_length_is_zero(parameter, gradient):
    tensor = torch.full((4,), parameter)
    optimizers.make(rules("lamb"), [tensor]).step([torch.full((4,), gradient)])
    torch.testing.assert_close(tensor, torch.full((4,), parameter - 0.1 * gradient), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_continues_and_is_plain_tensors(name):
    unbroken, broken = normal("start", 0, torch.float32), normal("start", 0, torch.float32)
    walked(optimizers.make(rules(name), unbroken))
    first = optimizers.make(rules(name), broken)
    walked(first, 0, 2)
    state = {key: value.clone() for key, value in first.state_dict().items()}
    assert state and all(type(value) is torch.Tensor and not value.requires_grad for value in state.values())
    second = optimizers.make(rules(name), broken)
    assert second.state_dict().keys() == state.keys(), "before the first step too: a layout is known beforehand"
    second.load_state_dict(state)
    walked(second, 2)
    assert all(torch.equal(a, b) for a, b in zip(unbroken, broken, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_forgetting_is_starting_anew(name):
    mine, other = normal("start", 0), normal("start", 0)
    optimizer = optimizers.make(rules(name), mine)
    walked(optimizer)
    for a, b in zip(mine, other, strict=True):
        b.copy_(a)
    optimizer.forget()
    walked(optimizer)
    walked(optimizers.make(rules(name), other))
    assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))


@pytest.mark.parametrize("clip", [None, {"norm": 0.5}, {"value": 0.2}])
@pytest.mark.parametrize("name", NAMES)
def test_networks_trained_at_once_step_as_each_would_alone(name, clip):
    config = rules(name, clip=clip, weight_decay=0.1)
    members = [normal("start", number) for number in range(3)]
    stacked = [torch.stack(parts) for parts in zip(*members, strict=True)]
    together = optimizers.make(config, stacked, torch.func.vmap)
    alone = [optimizers.make(config, member) for member in members]
    for number in range(STEPS):
        gradients = [normal("gradient", STEPS * member + number) for member in range(3)]
        together.step([torch.stack(parts) for parts in zip(*gradients, strict=True)])
        for optimizer, own in zip(alone, gradients, strict=True):
            optimizer.step(own)
    for joined, parts in zip(stacked, zip(*members, strict=True), strict=True):
        torch.testing.assert_close(joined, torch.stack(parts), rtol=1e-12, atol=1e-14)


def test_clipping_by_norm_is_torchs():
    gradients = normal("gradient", 0)
    for most in (0.1, 1e3):
        theirs = [p.requires_grad_() for p in normal("start", 0)]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(theirs, most)
        mine = normal("start", 0)
        settled = optimizers.make(settings.Optimizer(lr=1.0, clip={"norm": most}), mine)
        settled.step(gradients)
        for parameter, start, other in zip(mine, normal("start", 0), theirs, strict=True):
            torch.testing.assert_close(parameter, start - other.grad, rtol=1e-12, atol=0)


def test_clipping_by_value():
    parameter = torch.zeros(3)
    optimizers.make(settings.Optimizer(lr=1.0, clip={"value": 0.5}), [parameter]).step([torch.tensor([-3.0, 0.2, 0.7])])
    assert parameter.tolist() == [0.5, pytest.approx(-0.2), -0.5]


@pytest.mark.parametrize(("numbers", "said"), [
    ({"betas": (0.9, 0.9)}, "sgd has no such number"), ({"eps": 1e-3}, "sgd has no such number"),
    ({"optimizer": "adam", "momentum": 0.9}, "adam has no such number"),
    ({"clip": {}}, "norm or value"), ({"clip": {"norm": 1.0, "value": 1.0}}, "norm or value"),
    ({"optimizer": "adamax"}, "adabelief"), ({"optimizer": "adam", "betas": (0.9, 1.0)}, "less than 1"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(numbers, said):
    with pytest.raises(ValidationError, match=said):
        settings.Optimizer(lr=0.1, **numbers)


def test_no_optimiser_costs_an_import():
    """The reason why torch.optim's classes are not used."""
    code = (
        "import sys, torch; from ddpipe import settings; from ddpipe.training import optimizers; p = [torch.ones(2)]\n"
        f"for name in {NAMES}:\n"
        "    optimizers.make(settings.Optimizer(optimizer=name, lr=0.1), p).step(p)\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
