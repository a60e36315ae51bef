"""The guard computes what the CPU does, refuses what CUDA refuses or does slowly, and counts what is asked for."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ddpipe.randomness import generator
from ddpipe.sending import sent, sent_as, sent_together


@pytest.fixture
def guard(device: torch.device):
    from tests.device import guard

    return guard


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator("guard", shape))


def test_numbers_are_those_of_the_cpu(device):
    """Through layers, first and second derivatives, vmap, in-place and foreach operations, views."""
    images, targets = drawn(4, 3, 8, 8), torch.arange(4)

    def found(place: torch.device | str) -> list[Tensor]:
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(drawn(*p.shape))
        network = network.to(place)
        parameters, x = list(network.parameters()), images.to(place)
        first = torch.autograd.grad(F.cross_entropy(network(x), targets.to(place)), parameters, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), parameters)
        weights = {name: p.detach() for name, p in network.named_parameters()}
        each = vmap(grad(lambda w, one: functional_call(network, w, (one[None],)).sum()), (None, 0))(weights, x)
        with torch.no_grad():
            torch._foreach_add_(parameters, second, alpha=-0.1)
            parameters[0][1:].mul_(2)
        return [part.cpu() for part in (*first, *second, *each.values(), *parameters)]

    for mine, theirs in zip(found("cpu"), found(device), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_what_lies_on_both_sides_is_refused(device, guard):
    there, rows = drawn(3, 2).to(device), torch.tensor([0, 2])
    for mixed in (
        lambda: there + drawn(3, 2),
        lambda: there[rows],
        lambda: there.index_put_((rows,), there[:2]),
        lambda: drawn(3, 2)[rows.to(device)],
        lambda: there.normal_(generator=torch.Generator()),
        lambda: torch.randn(3, generator=torch.Generator(), device=device),
        lambda: F.linear(there, drawn(4, 2)),
    ):
        with pytest.raises(guard.Refused):
            mixed()
    assert torch.equal((there + torch.tensor(1.0)).cpu(), drawn(3, 2) + 1)  # one number is no tensor to CUDA
    with pytest.raises(RuntimeError):
        there.numpy()


def test_operations_copies_and_waits_are_counted(device, guard):
    with guard.counted() as counts:
        there = drawn(3, 2).to(device)
        assert counts.totals() == (1, 1, 1)
        moved = (there.view(6)[1:].relu() + 1).t()
        assert counts.totals() == (3, 1, 1)
        sent(drawn(5), device)
        assert counts.totals() == (4, 2, 1)  # pinned: nobody waits
        parts = sent_together([torch.arange(2), torch.arange(3)], device)
        assert counts.totals() == (5, 3, 1)
        assert [part.tolist() for part in parts] == [[0, 1], [0, 1, 2]] and counts.totals()[1:] == (5, 3)
        float(moved.detach()[0])
        assert counts.totals()[1:] == (6, 4)
        there[there > 0]
        assert counts.totals()[1:] == (6, 5)
    assert sent(there, device) is there and sent_as(drawn(2).double(), there).dtype == torch.float32


def test_on_a_cpu_nothing_is_sent():
    here = [drawn(2), drawn(3)]
    assert sent(here[0], "cpu") is here[0] and sent_together(here, "cpu") is here


def test_bfloat16_is_where_cuda_computes_in_it(device):
    images, weight = drawn(2, 3, 4, 4).to(device), drawn(5, 3, 3, 3).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        convolved = F.conv2d(images, weight)
        assert convolved.dtype == torch.bfloat16 and F.group_norm(convolved, 5).dtype == torch.float32
    assert F.conv2d(images, weight).dtype == torch.float32
