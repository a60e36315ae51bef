"""What every augmentation promises, whatever it does: the same holds for each operation of each policy."""

import pytest
import torch

from ddpipe import augmentation
from ddpipe.augmentation import milder, siamese
from ddpipe.augmentation.siamese import Draw
from ddpipe.randomness import generator

DSA = list(siamese.OPERATIONS)
COMPOSED = ["idc:color_crop_cutout", "idc:color_crop_flip_scale_rotate", "idc:cutout_flip"]
REFLECTED = ["reflect:crop", "reflect:flip", "reflect:crop_flip"]
OLDER = ["older:crop", "older:scale", "older:rotate", "older:crop_scale_rotate"]
MILDER = [f"frepo:{name}" for name in milder.OPERATIONS] + ["frepo:color_crop_cutout_flip_rotate_translate"]
SHAPES = [(4, 3, 8, 8), (3, 1, 9, 12), (1, 3, 16, 10)]


def batch(shape, dtype=torch.float32):
    return torch.randn(shape, generator=generator("images", shape), dtype=dtype)


def drawn(strategy, n, shape, *name):
    policy = augmentation.make(strategy, flip=True)
    return policy, policy.draw(generator(strategy, *name), n, *shape[2:])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("strategy", DSA + COMPOSED + REFLECTED + OLDER + MILDER)
@pytest.mark.parametrize("siamese", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_dtype_and_input_are_kept(strategy, shape, siamese, dtype):
    images = batch(shape, dtype)
    kept = images.clone()
    for trial in range(5):
        policy, draw = drawn(strategy, 1 if siamese else len(images), shape, trial)
        changed = policy(images, draw)
        assert changed.shape == images.shape
        assert changed.dtype == dtype
        assert bool(changed.isfinite().all())
    assert torch.equal(images, kept)


@pytest.mark.parametrize("strategy", DSA + COMPOSED + REFLECTED + OLDER + MILDER)
def test_equal_generators_give_equal_draws_and_no_global_state_is_touched(strategy):
    before = torch.get_rng_state()
    images = batch(SHAPES[0])
    policy, draw = drawn(strategy, len(images), images.shape)
    again = drawn(strategy, len(images), images.shape)[1]
    assert draw.operation == again.operation
    assert torch.equal(draw.parameters, again.parameters)
    assert draw.parameters.device.type == "cpu"
    assert torch.equal(policy(images, draw), policy(images, draw))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("strategy", DSA + COMPOSED + REFLECTED + OLDER + MILDER)
def test_one_column_is_the_same_as_that_column_for_every_image(strategy, shape):
    images = batch(shape, torch.float64)
    for trial in range(5):
        policy, draw = drawn(strategy, 1, shape, trial)
        repeated = Draw(draw.operation, draw.parameters.repeat(1, len(images)))
        torch.testing.assert_close(policy(images, draw), policy(images, repeated))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("strategy", DSA + COMPOSED + MILDER)
@pytest.mark.parametrize("siamese", [True, False])
def test_first_and_second_derivatives_are_right(strategy, shape, siamese):
    images = batch((shape[0], shape[1], 4, 5), torch.float64).requires_grad_()
    policy, draw = drawn(strategy, 1 if siamese else len(images), images.shape)

    def change(x):
        return policy(x, draw).square()  # squared, so that the second derivative is not zero

    assert torch.autograd.gradcheck(change, images)
    try:
        assert torch.autograd.gradgradcheck(change, images)
    except RuntimeError as error:
        if "grid_sampler_2d_backward is not implemented" not in str(error):
            raise
        assert draw.operation in ("scale", "rotate")
        pytest.skip("this torch differentiates grid_sample once")


@pytest.mark.parametrize("strategy", DSA + COMPOSED + REFLECTED)
def test_images_in_another_memory_order_give_the_same(strategy):
    images = batch(SHAPES[0])
    policy, draw = drawn(strategy, 1, images.shape)
    other = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(policy(other, draw), policy(images, draw))


def test_the_older_augmentation_cuts_the_graph():
    images = batch(SHAPES[0]).requires_grad_()
    policy, draw = drawn(OLDER[-1], len(images), images.shape)
    assert not policy(images, draw).requires_grad


@pytest.mark.gpu
@pytest.mark.parametrize("strategy", DSA + COMPOSED + REFLECTED + OLDER + MILDER)
@pytest.mark.parametrize("siamese", [True, False])
def test_images_on_an_accelerator_are_changed_there(strategy, siamese):
    images = batch(SHAPES[0])
    policy, draw = drawn(strategy, 1 if siamese else len(images), images.shape)
    changed = policy(images.cuda(), draw)
    assert changed.is_cuda
    torch.testing.assert_close(changed.cpu(), policy(images, draw), rtol=1e-4, atol=1e-4)
