"""How a method looks: one colour and one marker in every figure of a project, told apart without colours too."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ddpipe.config import Config
from ddpipe.report.frame import labels
from ddpipe.states import State

# Light and dark in turn, each of contrast 3.7 or more on white; any two lie further apart than a CIE76 distance of 28,
# for eyes without the red or the green cones too (Machado, Oliveira and Fernandes, 2009). Seven colours and eight
# markers have no common divisor: neighbours differ in both, and 56 methods in one of them.
PALETTE = ("#1F77C8", "#6E2810", "#D55E00", "#1B1464", "#00966C", "#5B34D6", "#1A8FA0")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
SIZES = {"D": 4.6, "P": 6.8, "X": 6.4}  # of markers that look smaller or larger than others of 5.2 points
# Selections are references: greys, markers and dashes that no method has
GREYS = ("#707070", "#505050", "#303030", "#000000")
REFERENCES = ("p", "h", "*")
DASHES: tuple[Any, ...] = ((0, (1, 1.5)), (0, (4, 2)), (0, (5, 1.5, 1, 1.5)), "-")
INK, SOFT, GRID = "#1B1F24", "#555555", "#E2E2E2"  # text, further text, lines behind


@dataclass(frozen=True)
class Style:
    """How a method looks in every figure of a project."""

    colour: str
    marker: str
    hollow: bool = False  # a combination of one's own, which has the look of its base
    dashes: Any = "-"

    @property
    def reference(self) -> bool:
        """A selection: what learned sets are held against."""
        return self.colour in GREYS

    def inside(self, state: str = State.PUBLISHED) -> str:
        """Of its marker: full as published, pale with unverified settings, else white."""
        if self.hollow or state in (State.REDUCED, State.OWN):
            return "white"
        return mixed(self.colour, "#FFFFFF", 0.5) if state == State.UNVERIFIED else self.colour

    def ink(self, state: str = State.PUBLISHED) -> dict[str, Any]:
        """As matplotlib's `plot` takes it."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "markersize": SIZES.get(self.marker, 5.2),
            "markerfacecolor": self.inside(state),
            "markeredgewidth": 1.0,
            "linestyle": self.dashes,
            "linewidth": 1.3,
        }


SHADES = "Filled markers: as published; pale: unverified settings; hollow: reduced, or a combination of one's own."
SHAPES = ", ".join(f"{state.shape} {state}" for state in State) + "."


def mixed(one: str, other: str, share: float) -> str:
    """`share` of the way from colour `one` to the `other`."""
    parts = ((int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(first + share * (second - first)):02X}" for first, second in parts)


def looks(config: Config) -> dict[str, Style]:
    """method -> how it looks: of every entry of `methods:`, every recipe and every method of the survey.

    The survey's order (data/published/methods.csv) decides, then that of `methods:`, so whatever else the grid holds
    changes nothing.
    """
    known = dict.fromkeys([*labels(config), *config.params.methods, *config.recipes])
    bases = {name: str(config.params.methods.get(name, {}).get("base", name)) for name in known}
    chosen = {name for name, recipe in config.recipes.items() if recipe.parts.get("kind") == "selection"}
    own = [name for name in known if bases[name] == name]
    found = styles([n for n in own if n in chosen], [n for n in own if n not in chosen])
    return {name: replace(found[base], hollow=base != name) for name, base in bases.items() if base in found}


def styles(selections: Iterable[str], methods: Iterable[str]) -> dict[str, Style]:
    """Selections are grey, methods coloured."""
    found = {
        method: Style(PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)])
        for i, method in enumerate(dict.fromkeys(methods))
    }
    for i, method in enumerate(dict.fromkeys(selections)):
        grey, marker = GREYS[i % len(GREYS)], REFERENCES[i % len(REFERENCES)]
        found[method] = Style(grey, marker, dashes=DASHES[i % len(DASHES)])
    return found
