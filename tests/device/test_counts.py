"""How often an iteration, or a pass, asks the device for something: a card would crawl long before a test of it failed.

`python -m tests.device.scenes` prints the table as it is; `... "mtt 1"` prints where the numbers of one line come from.
"""

import pytest

from tests.device.scenes import PASSES, SCENES, iteration, one_pass

# operations, copies between host and device, and those among them for which the host waits: at the most
LIMITS: dict[str, tuple[int, int, int]] = {
    "dm 1": (200, 3, 0),
    "dm 1, 100 classes": (240, 3, 0),
    "dc 1": (400, 3, 0),
    "dc 10": (2450, 2, 0),
    "dsa 10": (2900, 56, 0),
    "mtt 1": (23600, 53, 0),
    "tesla 1": (21700, 53, 0),
    "idc 1": (2350, 21, 0),
    "dcc 1": (4650, 15, 0),
    "cafe 1": (2500, 139, 31),
    "kfs 10": (240, 11, 0),
    "haba 1": (2850, 28, 0),
    "dd 1": (2400, 5, 0),
    "ld 1": (500, 3, 1),
    "frepo 1": (320, 2, 1),
    "rfad 1": (230, 5, 1),
    "expert": (230, 9, 1),
    "expert, flat": (1400, 9, 1),
    "experts, three": (520, 25, 1),
    "evaluation": (230, 10, 1),
    "evaluation, older": (470, 21, 1),
    "evaluation, three": (540, 30, 3),
}


def test_the_table_is_of_these_scenes():
    assert list(LIMITS) == [*SCENES, *PASSES]


@pytest.mark.parametrize("name", LIMITS)
def test_no_more_is_asked_for_than_the_table_says(name, device):
    counts, times = iteration(SCENES[name]) if name in SCENES else one_pass(*PASSES[name])
    found = tuple(round(n / times) for n in counts.totals())
    assert all(n <= most for n, most in zip(found, LIMITS[name], strict=True)), (
        f"operations, copies and waits are {found}, at most {LIMITS[name]} are allowed\n"
        f"copies: {counts.copies.most_common(9)}\nwaits: {counts.waits.most_common(9)}\n"
        f"operations: {counts.operations.most_common(9)}"
    )
