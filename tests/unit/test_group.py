"""How many networks are trained at once where that is tried."""

import pytest

from ddpipe.training.together import fastest, offered


def tried(each: dict[int, float], most: int) -> tuple[int, list[int]]:
    """What `fastest` chooses if a network takes `each` seconds in company of so many, and what it tried."""
    sizes = []

    def seconds(size: int) -> float:
        sizes.append(size)
        if size not in each:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return size * each[size]

    return fastest(seconds, most), sizes


def test_the_quickest_company_is_chosen_though_a_smaller_one_is_slower_than_none():
    assert tried({1: 1.0, 2: 1.5, 4: 0.8, 8: 0.9}, 8) == (4, [1, 2, 4, 8])


def test_no_company_where_it_does_not_pay():
    assert tried({1: 1.0, 2: 1.2, 4: 1.1, 7: 1.3}, 7) == (1, [1, 2, 4, 7])


def test_all_at_once_are_tried_too():
    assert tried({1: 1.0, 2: 0.8, 4: 0.6, 5: 0.5}, 5) == (5, [1, 2, 4, 5]) and tried({1: 1.0}, 1) == (1, [1])
    assert offered(20) == "1, 2, 4, 8, 16 and 20" and offered(8) == "1, 2, 4 and 8"


def test_what_does_not_fit_into_the_memory_ends_the_trial():
    assert tried({1: 1.0, 2: 0.6}, 32) == (2, [1, 2, 4])


def test_one_network_must_fit():
    with pytest.raises(RuntimeError, match="out of memory"):
        tried({}, 4)


def test_another_error_is_not_taken_for_a_lack_of_memory():
    def broken(size: int) -> float:
        if size > 1:
            raise RuntimeError("no kernel for this")
        return 1.0

    with pytest.raises(RuntimeError, match="no kernel"):
        fastest(broken, 4)
