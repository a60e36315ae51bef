"""IT-GAN's second term against the formula, written out; and what its latents refuse."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from ddpipe import augmentation, networks
from ddpipe.distillation.loop import compose, make
from ddpipe.errors import UserError
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams, generator
from ddpipe.regularisers.partners import Partners, apart
from ddpipe.settings.regularisers import partners as record
from ddpipe.students.student import Student
from tests.contexts import context
from tests.contracts.compositions import ARCHITECTURE, SYNTHETIC, gan, of, resident, settings_of


class Brightness(Objective):
    """The sum of all pixels, its gradient taken up to the images."""

    def losses(self, synthetic: Any, *others: Any) -> Iterator[Loss]:
        images = synthetic.decode().images
        yield Loss(images.detach().sum(), images, torch.ones_like(images))


def test_a_class_counts_by_its_mean() -> None:
    given, wanted = torch.tensor([[1.0, 2.0], [3.0, 0.0], [5.0, 5.0]]), torch.zeros(3, 2)
    assert float(apart(given, wanted, torch.tensor([0, 0, 2]))) == pytest.approx((5 + 9) / 2 + 50)


@pytest.mark.parametrize("weight", [0.25, 0.75])
def test_the_loss_is_a_convex_combination(weight: float) -> None:
    real, chosen = resident(), settings_of("synthetic", SYNTHETIC["latents"])
    synthetic = make(chosen, context(real, 5, generator=gan(real, chosen)))
    network = networks.create(ARCHITECTURE, 2, 8, 3, generator("student"))
    beside = Partners(record.Partners(name="partners", weight=weight), Brightness())
    [loss] = beside.losses(synthetic, Student(network), real, augmentation.make("none"), Streams("partners"))

    images, wanted = synthetic.decode().images, real.batch(torch.cat(real.class_index))
    own, theirs = network.embed(images), network.embed(wanted).detach()
    likeness, first = torch.zeros(()), 0
    for rows in real.class_index:
        block = slice(first, first + len(rows))
        likeness = likeness + (own[block] - theirs[block]).square().sum(1).mean()
        first += len(rows)
    total = (1 - weight) * images.sum() + weight * likeness
    torch.testing.assert_close(loss.value, total.detach(), rtol=1e-5, atol=1e-4)
    (by_hand,) = torch.autograd.grad(total, [synthetic.latents])
    (found,) = loss.gradients([synthetic.latents])
    torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-4)


def test_partners_are_augmented_alike() -> None:
    """An example that is its partner stays one under every augmentation of its class."""
    real, chosen = resident(), settings_of("synthetic", SYNTHETIC["latents"])
    synthetic = make(chosen, context(real, 5, generator=gan(real, chosen)))
    images = synthetic.decode().images.detach()
    real.images = images[torch.cat(real.class_index).argsort()]
    network = networks.create(ARCHITECTURE, 2, 8, 3, generator("student"))
    beside = Partners(record.Partners(name="partners", weight=0.5, batch=2), Brightness())
    policy = augmentation.make("color_crop_cutout_flip_scale_rotate")
    for number in range(6):
        term = beside.distance(synthetic, network, real, policy, Streams("alike", number))
        assert float(term.detach()) == pytest.approx(0, abs=1e-4)


def test_latents_ask_for_a_generator_of_their_sizes_and_images() -> None:
    real = resident()
    chosen = of("distribution", start="latents")
    network = networks.build(ARCHITECTURE, 2, 8, 3)
    given = context(real, 5, network)
    with pytest.raises(UserError, match=r"^synthetic: latents need a generator; name one as the row's needs"):
        compose(chosen, given)
    stored = gan(real, chosen.synthetic)
    assert stored is not None
    wider = chosen.model_copy(update={"synthetic": chosen.synthetic.model_copy(update={"width": 3})})
    with pytest.raises(UserError, match=r"^synthetic\.width: 3, but the row's generator has 1; set it to 1"):
        compose(wider, replace(given, generator=stored))
    others = replace(stored, rows=stored.rows.flip(0))
    with pytest.raises(UserError, match=r"^synthetic: the row's generator is of other training images"):
        compose(chosen, replace(given, generator=others))
    compose(chosen, replace(given, generator=stored))


def test_the_weight_is_a_share() -> None:
    for weight in (0.0, 1.0, -0.5):
        with pytest.raises(ValueError, match="weight"):
            record.Partners(name="partners", weight=weight)
    assert of("distribution", start="latents", regulariser="partners").regulariser is not None
