"""What every kind of protocol promises beside its record: a rule, its words, and a program without ddpipe."""

from importlib import import_module
from typing import Any

import pytest

from ddpipe.distilled import bundle
from ddpipe.settings.protocols import records


@pytest.mark.parametrize("kind", records())
def test_a_kind_has_a_rule_and_a_program(kind: str) -> None:
    """That the program does what the rule does `test_criteria.py` tests, of every kind."""
    rule = import_module(f"ddpipe.evaluation.{kind}")
    assert all(callable(getattr(rule, name)) for name in ("make", "exported", "words"))
    assert bundle.kind_of(records()[kind]) == kind and bundle.lacking(records()[kind]) is None
    text = bundle.program(kind)
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, f"{kind}/train.py", "exec"), names)
    assert (
        callable(names["learn"])
        and callable(names["main"])
        and "import ddpipe" not in text
        and "from ddpipe" not in text
    )
