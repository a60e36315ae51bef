"""Students that learn real data, and students that begin as experts did early."""

import pytest
import torch
from torch import Tensor, nn

from ddpipe import networks, settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import make
from ddpipe.errors import UserError
from ddpipe.randomness import Streams, generator
from ddpipe.settings.students.trained import Snapshot, TrainedStudents
from ddpipe.students import early
from ddpipe.students.trained import Trained
from tests.contexts import context

N, EXPERTS, SNAPSHOTS = 10, 3, 5
ARCHITECTURE = settings.ConvNet(kind="convnet", depth=1, width=4)


def real() -> Resident:
    images = torch.randint(256, (N, 1, 8, 8), generator=generator("real")).to(torch.uint8)
    return Resident(images, torch.arange(N) % 2, fit(images, settings.Dataset(source="digits")))


def network() -> networks.Classifier:
    return networks.create(ARCHITECTURE, 1, 8, 2, generator("network"))


def weights(net: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(net.parameters()).detach().clone()


class Drawn:
    """A buffer whose snapshot (expert, number) is a network of that name; it notes which were asked for."""

    def __init__(self):
        self.asked: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return EXPERTS

    def snapshot(self, expert: int, number: int) -> Tensor:
        self.asked.append((expert, number))
        return weights(networks.create(ARCHITECTURE, 1, 8, 2, generator("expert", expert, number)))


def pool(**numbers) -> Trained:
    chosen = TrainedStudents.model_validate({"name": "trained", **numbers})
    return Trained(chosen, network(), Augment("none"), real(), Drawn())


def test_batches_of_real_data_go_on_where_the_last_network_left_them(monkeypatch):
    """Seven batches of four images are two passes and a part of the third, whatever network they teach."""
    students, seen = pool(on="real", outer_loop=2, inner_loop=7, batch=4), []
    learn = students.learn_batch
    monkeypatch.setattr(students, "learn_batch", lambda *a: (seen.append(a[0]), learn(*a)))
    for iteration in range(4):
        students.next(None, Streams("students"), iteration)
    assert [len(images) for images in seen] == [4, 4, 2] * 4 + [4, 4]
    first, everything = torch.cat(seen[:3]), students.real.real.images
    assert {tuple(image.flatten().tolist()) for image in first} == {tuple(i.flatten().tolist()) for i in everything}


def test_a_step_on_real_data_is_plain_descent():
    students, rng = pool(on="real", outer_loop=2, inner_loop=1, lr=0.5, batch=N), Streams("students")
    before, net = weights(students.next(None, rng, 0).network), network()
    nn.utils.vector_to_parameters(before, net.parameters())
    everything = students.real.real
    loss = nn.functional.cross_entropy(net(everything.images), everything.labels)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, net.parameters())])
    torch.testing.assert_close(weights(students.next(None, rng, 1).network), before - 0.5 * gradient)


def test_real_data_are_mixed(monkeypatch):
    from ddpipe.augmentation import cutmix

    mixed: list[int] = []
    mix = cutmix.mix
    monkeypatch.setattr(cutmix, "mix", lambda *a: (mixed.append(len(a[0])), mix(*a))[1])
    for probability, times in ((0.0, 0), (1.0, 3)):
        students, rng = pool(on="real", outer_loop=2, inner_loop=3, batch=4, cutmix=probability), Streams("students")
        students.next(None, rng, 0)
        students.next(None, rng, 1)
        assert len(mixed) == times


def test_networks_begin_as_any_expert_did_in_any_of_these_epochs():
    students = pool(outer_loop=1, start={"epochs": [1, 3], "perturbed": None})
    rng = Streams("students")
    for iteration in range(60):
        net = students.next(None, rng, iteration).network
        assert torch.equal(weights(net), Drawn().snapshot(*students.buffer.asked[-1]))
    assert set(students.buffer.asked) == {(expert, number) for expert in range(EXPERTS) for number in (1, 2, 3)}


def test_and_are_moved_by_so_much_of_each_filter():
    """Two random directions are nearly orthogonal in many dimensions: the squares of the steps add up."""
    net = networks.create(ARCHITECTURE.model_copy(update={"width": 256}), 1, 8, 2, generator("wide"))
    before = [p.detach().clone() for p in net.parameters()]
    flat = torch.cat([b.flatten() for b in before])
    buffer = type("One", (), {"__len__": lambda _: 1, "snapshot": lambda *_: flat})()
    signs = set()
    for number in range(12):
        early.begin_(net, Snapshot(epochs=(1, 1), perturbed=(0.05, 0.05)), buffer, Streams(number))
        for old, new in zip(before, net.parameters(), strict=True):
            if old.dim() < 2:
                assert torch.equal(old, new)
        moved, old = (net.classifier.weight - before[-2]).flatten(1), before[-2].flatten(1)
        share = moved.norm(dim=1) / old.norm(dim=1)
        torch.testing.assert_close(share, torch.full_like(share, 0.05 * 2**0.5), rtol=0.1, atol=0)
        signs.add(bool((moved * old).sum() > 0))
    assert len(signs) == 2


def test_batch_statistics_are_those_of_a_new_network():
    chosen = ARCHITECTURE.model_copy(update={"norm": "batch"})
    net = networks.create(chosen, 1, 8, 2, generator("network"))
    net.train()(real().images)
    students = Trained(
        TrainedStudents(name="trained", start=Snapshot(epochs=(1, 1))), net, Augment("none"), real(), Drawn()
    )
    students.next(None, Streams("students"), 0)
    assert all(not value.any() for name, value in net.named_buffers() if name.endswith("running_mean"))


def test_a_start_needs_a_buffer():
    chosen = TrainedStudents(name="trained", start=Snapshot(epochs=(1, 1)))
    with pytest.raises(UserError, match=r"^students\.start: .*name one as the row's needs: data/experts/<buffer>$"):
        make(chosen, context(real(), 2, network()))


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"cutmix": 0.5}, "cutmix is for real data; set it to 0, or on to real"),
        ({"start": {"epochs": [3, 1]}}, "epochs: 3 is above 1; the smaller number comes first"),
        ({"start": {"epochs": [1, 1], "perturbed": [0.2, 0.1]}}, "perturbed: 0.2 is above 0.1"),
    ],
)
def test_what_cannot_be_is_refused(numbers, says):
    with pytest.raises(ValueError, match=says):
        TrainedStudents.model_validate({"name": "trained"} | numbers)


def test_new_keys_leave_what_others_are_called_by_alone():
    """Resolved settings of cells that do not use them say what they said before."""
    assert not {"on", "start", "cutmix"} & TrainedStudents(name="trained").model_dump().keys()
