"""How often an iteration, or a pass, asks the device for something: a card would crawl long before a test of it failed.

`python -m tests.device.scenes` prints the table as it is; `... "mtt 1"` prints where the numbers of one line come from.
"""

import pytest

from tests.device.scenes import PASSES, SCENES, iteration, one_pass

# operations, copies between host and device, and those among them for which the host waits: at the most
LIMITS: dict[str, tuple[int, int, int]] = {}


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
