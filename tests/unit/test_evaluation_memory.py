"""Memory that tensors gave back is not taken from the system again."""

import platform
import resource

import pytest
import torch

from ddpipe.device import free_memory, keep_freed_memory


def new_pages(mib: int) -> int:
    """How many pages a tensor of `mib` MiB takes from the system."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(mib * 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks to glibc")
def test_freed_memory_is_used_again():
    keep_freed_memory()
    new_pages(128)
    assert new_pages(48) < 48 * 2**20 / resource.getpagesize() / 10


def test_a_cpu_has_no_memory_of_its_own():
    assert free_memory(torch.device("cpu")) is None
