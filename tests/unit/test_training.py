"""Training a network on a fixed set: passes, batches, the learning rate, precision, accuracy."""

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ddpipe import networks, settings
from ddpipe.augmentation import cutmix
from ddpipe.augmentation.siamese import Augment
from ddpipe.randomness import generator
from ddpipe.synthetic import Batch
from ddpipe.training import loop
from ddpipe.training.optimizers import Sgd
from ddpipe.training.precision import rounding

N, CLASSES = 10, 3
NONE = Augment("none")


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator("training", shape))


IMAGES, LABELS = normal(N, 1, 8, 8), torch.arange(N) % CLASSES
TARGETS = F.one_hot(LABELS, CLASSES).float()


def fetch(index) -> Batch:
    return Batch(IMAGES[index], TARGETS[index])


def network(seed: int = 0, norm: str = "instance") -> networks.Classifier:
    return networks.create(
        settings.ConvNet(kind="convnet", depth=1, width=4, norm=norm), 1, 8, CLASSES, generator(seed)
    )


def finished(judge: nn.Module, **protocol) -> list[int]:
    rules = settings.Trained(**protocol)
    return list(loop.train(judge, rules, fetch, N, NONE, generator("order")))


def descent(judge: nn.Module, lr: float) -> loop.Descent:
    return loop.Descent(loop.loss_of(judge), Sgd(judge.parameters(), lr))


def weights(judge: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(judge.parameters()).detach().clone()


@pytest.mark.parametrize(("extra", "passes"), [(False, 3), (True, 4)])
def test_every_pass_is_announced(extra, passes):
    assert finished(network(), epochs=3, extra_epoch=extra) == list(range(passes))
    assert loop.passes(settings.Trained(epochs=3, extra_epoch=extra)) == passes


@pytest.mark.parametrize("batch", [1, 3, 4, 9])
def test_a_pass_meets_every_example_once_in_a_new_order(batch):
    met: list[list[int]] = []

    def noting(index):
        met.append(index.tolist())
        return fetch(index)

    judge, rng = network(), generator("order")
    orders = []
    for _ in range(2):
        loop.pass_over(descent(judge, 0.01), noting, N, batch, NONE, rng)
        assert [len(rows) for rows in met] == [batch] * (N // batch) + [N % batch] * (N % batch > 0)
        orders.append([row for rows in met for row in rows])
        met.clear()
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(N)) and orders[0] != orders[1]


@pytest.mark.parametrize("batch", [N, 256])
def test_a_set_that_fits_into_one_batch_is_one_step_in_its_own_order(batch):
    judge, rng = network(), generator("order")
    untouched = rng.get_state()
    before = weights(judge)
    expected = torch.cat(
        [g.flatten() for g in torch.autograd.grad(F.cross_entropy(judge(IMAGES), LABELS), judge.parameters())]
    )
    loss = loop.pass_over(descent(judge, 0.5), fetch, N, batch, NONE, rng)
    torch.testing.assert_close(weights(judge), before - 0.5 * expected)
    assert torch.equal(rng.get_state(), untouched) and not loss.requires_grad


def test_an_augmented_batch_has_one_operation_and_parameters_for_each_image():
    seen = []

    class Noting(Augment):
        def __call__(self, images, draw):
            seen.append((len(images), draw.parameters.shape[1]))
            return super().__call__(images, draw)

    judge = network()
    loop.pass_over(descent(judge, 0.01), fetch, N, 4, Noting("color_crop_flip_rotate"), generator("order"))
    assert seen == [(4, 4), (4, 4), (2, 2)]


@pytest.mark.parametrize("drop", ["half", "never"])
@pytest.mark.parametrize("resets", [True, False])
@pytest.mark.parametrize("epochs", [1, 2, 5, 6])
@pytest.mark.parametrize("extra", [True, False])
def test_equals_the_loop_in_torchs_words(drop, resets, epochs, extra):
    numbers = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    ours, theirs = network(), network()
    finished(ours, epochs=epochs, extra_epoch=extra, drop=drop, drop_resets_momentum=resets, batch=4, **numbers)

    optimizer, order = torch.optim.SGD(theirs.parameters(), **numbers), generator("order")
    for number in range(epochs + extra):
        for rows in torch.randperm(N, generator=order).split(4):
            optimizer.zero_grad()
            F.cross_entropy(theirs(IMAGES[rows]), LABELS[rows]).backward()
            optimizer.step()
        if drop == "half" and number == epochs // 2 + 1:
            if resets:
                optimizer = torch.optim.SGD(theirs.parameters(), **numbers | {"lr": 0.1 * numbers["lr"]})
            optimizer.param_groups[0]["lr"] = 0.1 * numbers["lr"]
    torch.testing.assert_close(weights(ours), weights(theirs))


@pytest.mark.parametrize("epochs", [1, 2, 6, 13])
def test_a_staged_rate_is_idcs_scheduler(epochs):
    numbers = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    ours, theirs = network(), network()
    finished(ours, epochs=epochs, drop="staged", drop_resets_momentum=False, batch=4, **numbers)

    optimizer, order = torch.optim.SGD(theirs.parameters(), **numbers), generator("order")
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2 * epochs // 3, 5 * epochs // 6], gamma=0.2)
    for _ in range(epochs):
        for rows in torch.randperm(N, generator=order).split(4):
            optimizer.zero_grad()
            F.cross_entropy(theirs(IMAGES[rows]), LABELS[rows]).backward()
            optimizer.step()
        schedule.step()
    torch.testing.assert_close(weights(ours), weights(theirs))


def test_soft_targets_are_trained_on():
    soft = torch.softmax(normal(N, CLASSES), 1)
    judge, other = network(), network()
    rules = settings.Trained(epochs=1, lr=0.5, momentum=0.0, weight_decay=0.0)
    list(loop.train(judge, rules, lambda index: Batch(IMAGES[index], soft[index]), N, NONE, generator("order")))
    loss = -(soft * other(IMAGES).log_softmax(1)).sum(1).mean()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, other.parameters())])
    torch.testing.assert_close(weights(judge), weights(other) - 0.5 * gradient)


@pytest.mark.parametrize("mixing", [0.3, 1.0])
def test_a_batch_is_mixed_with_the_stated_probability_after_its_augmentation(mixing):
    augment, drawn, by_hand = Augment("crop_rotate"), generator("mix"), generator("mix")
    mixed = 0
    for _ in range(20):
        found = list(loop.batches(fetch, N, 4, augment, drawn, mixing))
        for rows, (images, targets) in zip(torch.randperm(N, generator=by_hand).split(4), found, strict=True):
            expected = augment(IMAGES[rows], augment.draw(by_hand, len(rows), 8, 8)), TARGETS[rows]
            if float(torch.rand((), generator=by_hand)) < mixing:
                expected = cutmix.mix(*expected, cutmix.draw(by_hand, len(rows), 8, 8))
                mixed += 1
            assert torch.equal(images, expected[0]) and torch.equal(targets, expected[1])
    assert mixed == 60 if mixing == 1 else 6 <= mixed <= 30


def test_nothing_is_drawn_for_cutmix_where_it_is_off():
    with_it, without = generator("mix"), generator("mix")
    for (a, _), (b, _) in zip(
        loop.batches(fetch, N, 4, NONE, with_it, 0.0), loop.batches(fetch, N, 4, NONE, without), strict=True
    ):
        assert torch.equal(a, b)
    assert torch.equal(with_it.get_state(), without.get_state())


def test_bfloat16_is_of_the_products_alone():
    judge, seen = network(), []
    judge.features[0].register_forward_hook(lambda module, given, result: seen.append(result.dtype))
    gradients = []

    class Noting(Sgd):
        def step(self, given):
            gradients.extend(g.dtype for g in given)
            super().step(given)

    optimizer = Noting(judge.parameters(), 0.1, 0.9)
    loss = loop.Descent(loop.loss_of(judge, "bfloat16"), optimizer).follow([Batch(IMAGES, TARGETS)])
    assert seen == [torch.bfloat16] and loss.dtype == torch.float32
    assert {*gradients, *(t.dtype for t in [*judge.parameters(), *optimizer.velocity])} == {torch.float32}

    exact = F.cross_entropy(network()(IMAGES), TARGETS).detach()
    assert 0 < abs(float(loss - exact)) < 0.01 * float(exact)


def allowed() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("before", [(True, False), (False, False), (True, True)])
def test_tensor_floats_are_allowed_in_a_step_alone(before):
    """It is a setting of the process, which other work on the device must not inherit."""
    was = allowed()
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    try:
        with rounding("tf32", torch.device("cuda")):
            assert allowed() == (True, True)
        with pytest.raises(ValueError), rounding("tf32", torch.device("cuda")):
            raise ValueError
        for precision, device in [("float32", "cuda"), ("bfloat16", "cuda"), ("tf32", "cpu")]:
            with rounding(precision, torch.device(device)):
                assert allowed() == before
        assert allowed() == before
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = was


def test_a_step_in_tf32_allows_it_in_its_backward_pass_too(monkeypatch):
    """The device is pretended: `rounding` is entered before the loss and left behind the gradient, before the step."""
    order, judge = [], network()

    @contextlib.contextmanager
    def noting(precision, device):
        order.append(precision)
        yield
        order.append("end")

    monkeypatch.setattr(loop, "rounding", noting)
    list(judge.parameters())[0].register_hook(lambda _: order.append("gradient"))
    list(loop.train(judge, settings.Trained(epochs=1, precision="tf32"), fetch, N, NONE, generator("order")))
    assert order == ["tf32", "gradient", "end"]


def test_on_a_cpu_tf32_is_float32():
    exact, same = network(), network()
    finished(exact, epochs=5)
    finished(same, epochs=5, precision="tf32")
    assert torch.equal(weights(exact), weights(same))


def test_a_protocol_in_bfloat16_learns_nearly_the_same():
    exact, rounded = network(), network()
    finished(exact, epochs=5)
    finished(rounded, epochs=5, precision="bfloat16")
    gap = (weights(exact) - weights(rounded)).norm()
    assert 0 < gap < 0.1 * (weights(exact) - weights(network())).norm()


def test_a_network_is_trained_in_training_mode_and_tested_in_evaluation_mode():
    judge = network(norm="batch").eval()
    finished(judge, epochs=1)
    assert judge.training and not torch.equal(judge.features[1].running_mean, torch.zeros(4))
    loop.accuracy(judge, IMAGES.__getitem__, LABELS)
    assert not judge.training


def test_a_loss_that_is_not_a_number_is_refused():
    with pytest.raises(loop.Diverged, match=r"^lr: training a network with 1e\+30 .* lower it$"):
        finished(network(), epochs=5, lr=1e30)


@pytest.mark.parametrize("batch", [1, 4, N, 1024])
def test_accuracy_is_the_percent_of_right_answers(batch):
    judge = network()
    answers = judge(IMAGES).argmax(1)
    answers[:3] = (answers[:3] + 1) % CLASSES
    assert loop.accuracy(judge, IMAGES.__getitem__, answers, batch) == 70.0
