"""Resolved settings of a cell that picks real images."""

from typing import TYPE_CHECKING, Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Few, PositiveInt
from ddpipe.settings.method import Method
from ddpipe.settings.part import Part, Rule, records

if TYPE_CHECKING:
    AnyRule = str
else:
    AnyRule = Literal[tuple(records("selections"))]


class Selection(Method):
    """Resolved settings of a cell that picks real images."""

    aside = Method.aside | {"sets"}
    kind: Literal["selection"] = "selection"
    revision: PositiveInt = 1
    rule: AnyRule
    sets: Few = 5

    def stated(self) -> dict[str, str]:
        return needed("sets")

    @property
    def record(self) -> Rule:
        """What the rule declares."""
        found = records("selections")[self.rule]
        assert issubclass(found, Rule)
        return found()

    def parts(self) -> dict[str, Part]:
        return {"rule": self.record}

    def composition(self) -> tuple[str, str, str]:
        return f"{self.rule} (selection)", "real images", "-"

    @property
    def whole(self) -> bool:
        return self.record.whole

    @property
    def embedded(self) -> bool:
        return self.record.embedded
