from collections.abc import Callable

import pytest
from cases import Case, load_case


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Callable[..., Case]:
    """`case("dm")` is the golden case dm of the folder given by --golden-dir."""
    folder = request.config.getoption("--golden-dir")
    return lambda name, config=None: load_case(folder, name, config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `variant` and is marked `@pytest.mark.variants_of("case")` runs once per variant of it."""
    marker = metafunc.definition.get_closest_marker("variants_of")
    if marker:
        name, *config = marker.args
        loaded = load_case(metafunc.config.getoption("--golden-dir"), name, *config)
        metafunc.parametrize("variant", sorted(loaded.config["variants"]))
