"""What an objective leaves beside its set is what its record declares, before the first iteration and after it."""

from ddpipe.files import hints
from tests.contracts.compositions import advanced, every_pair, of, run_of


@every_pair
def test_hints_are_those_of_the_record(objective, pool):
    chosen = of(objective, pool)
    run = run_of(chosen)
    assert chosen.floors.keys() <= {name.rstrip("?") for name in chosen.hints}
    hints.check(run.hints(), chosen, len(run.synthetic))
    hints.check(advanced(run, 1).hints(), chosen, len(run.synthetic))
