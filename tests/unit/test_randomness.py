"""Named generators: the name alone decides the numbers."""

import random

import numpy as np
import pytest
import torch

from ddpipe.randomness import Streams, generator


def numbers(rng: torch.Generator) -> list[float]:
    return torch.rand(5, generator=rng).tolist()


def test_equal_names_give_equal_numbers_and_others_do_not():
    names = [(0, "cell", 1), (0, "cell", 2), (1, "cell", 1), (0, "cell"), (0, "cel", "l1"), (0, "cell1"), ()]
    drawn = [numbers(generator(*name)) for name in names]
    assert drawn == [numbers(generator(*name)) for name in names]
    assert len({tuple(row) for row in drawn}) == len(names)


def test_parts_of_a_name_are_compared_by_their_text():
    assert numbers(generator(0, "a")) == numbers(generator("0", "a"))


def test_numbers_of_a_name_never_change():
    """Published results depend on them; the hash and the order of bytes are part of the promise."""
    drawn = torch.randint(2**31, (3,), generator=generator(0, "dm-digits-10", 0, "real"))
    assert drawn.tolist() == [691778762, 2033337614, 1841833252]


@pytest.mark.parametrize("state", [torch.get_rng_state, random.getstate])
def test_global_generators_are_neither_read_nor_changed(state):
    before = str(state())
    first = numbers(generator("name"))
    assert str(state()) == before
    with torch.random.fork_rng(devices=[]):
        torch.rand(3)
        assert numbers(generator("name")) == first


def test_a_purpose_keeps_its_generator():
    rng = Streams(0, "cell", 0)
    assert rng("real") is rng("real") and rng("real") is not rng("augment")
    assert numbers(rng("real")) == numbers(generator(0, "cell", 0, "real"))


def test_purposes_do_not_disturb_each_other():
    one, other = Streams("run"), Streams("run")
    numbers(other("augment"))
    assert numbers(one("real")) == numbers(other("real"))


def test_streams_continue_from_their_state():
    one = Streams("run")
    numbers(one("real"))
    other = Streams("another run")
    numbers(other("augment"))
    other.load_state_dict(one.state_dict())
    assert numbers(other("real")) == numbers(one("real"))


def test_a_purpose_first_used_after_resuming_is_that_of_the_unbroken_run():
    one = Streams("run")
    numbers(one("real"))
    resumed = Streams("run")
    resumed.load_state_dict(one.state_dict())
    assert numbers(resumed("augment")) == numbers(one("augment"))


def test_states_are_tensors():
    rng = Streams("run")
    rng("real")
    assert {name: value.dtype for name, value in rng.state_dict().items()} == {"real": torch.uint8}


def test_numpy_is_left_alone():
    before = str(np.random.get_state())  # noqa: NPY002 (it is the state that must stay)
    numbers(generator("name"))
    assert str(np.random.get_state()) == before  # noqa: NPY002
