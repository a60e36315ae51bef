"""The table that `make bench` prints."""

from collections.abc import Iterator

import pytest

Row = tuple[str, float, float, str, float]  # what, ours, plain, unit, ratio


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    """Rows of a module, printed when its last benchmark has run."""
    rows: list[Row] = []
    yield rows
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n\n{'':50}{'ours':>12}{'plain':>12}{'ratio':>8}")
        for what, mine, plain, unit, ratio in rows:
            print(f"{what:50}{mine:9.2f} {unit:2}{plain:9.2f} {unit:2}{ratio:8.3f}")
