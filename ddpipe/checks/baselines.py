"""That no distilled set stands alone: real images are measured wherever it is, chosen by every rule that there is.

Part of `ddpipe check`, so without torch. Which recipes choose real images their rules declare; which protocols real
images cannot have, the protocols declare:

- One that takes the step size that was learned with a set stands for its twin, the protocol that is else the same with
  a stated one.
- One that needs more of a set (an order of batches, a number of steps) measures no real images. There stands a set of
  which nothing is learned but how to train on it (`Method.distils`), as of dd-undistilled; or the distilled set is
  measured on this network under another protocol too, which real images can have.

A set as large as the data (IPC all) stands beside all images, which have the protocol of their recipe.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

from ddpipe import settings
from ddpipe.config import Config, resolve
from ddpipe.errors import UserError
from ddpipe.files.yaml import flow
from ddpipe.rows import short
from ddpipe.settings.part import Rule, records


class Scene(NamedTuple):
    """Where sets are measured."""

    dataset: str
    data: str
    ipc: int | str
    network: str
    protocol: str

    @classmethod
    def of(cls, row: settings.Row) -> "Scene":
        return cls(row.dataset, row.data, row.ipc, row.network, row.protocol)

    @property
    def options(self) -> str:
        """As `ddpipe add` takes them."""
        form = "" if self.data == self.dataset else f" --data {self.data}"
        protocol = "" if self.ipc == "all" else f" --protocol {self.protocol}"
        return f"{self.dataset} --ipc {self.ipc}{form} --network {self.network}{protocol}"

    def __str__(self) -> str:
        return f"{self.data} at IPC {self.ipc} on {self.network} under {self.protocol}"


class Measured(NamedTuple):
    """What is measured in a scene."""

    place: str  # in the files
    row: settings.Row
    resolved: settings.Cell


def baselines(config: Config) -> Iterator[str]:
    """One sentence for each scene that lacks any; unknown names and rows that do not resolve are left to `check`."""
    grid = Grid(config)
    for scene, found in grid.scenes.items() if grid.rules else ():
        if distilled := [measured for measured in found if measured.resolved.distils]:
            with suppress(UserError):
                yield from grid.lacking(scene, distilled)


def rules(config: Config) -> dict[str, type[Rule]]:
    """The published methods that choose real images: first by chance, then by features, the one that takes all last."""
    known, found = records("selections"), {}
    for name in config.params.methods:
        parts = config.recipes[name].parts if name in config.recipes else {}
        rule = known.get(str(parts.get("rule")))
        if parts.get("kind") == "selection" and rule is not None and issubclass(rule, Rule):
            found[name] = rule
    return dict(sorted(found.items(), key=lambda entry: (entry[1].whole, entry[1].embedded, entry[0])))


class Grid:
    """All that is measured."""

    def __init__(self, config: Config):
        self.config = config
        further: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        for key, entry in config.evaluations.items():
            further[entry.cell].append((f"evaluations.{key}", entry.network, entry.protocol))
        found: dict[Scene, list[Measured]] = defaultdict(list)
        for cell, row, resolved in config.cells():
            for place, network, protocol in [(f"grid.{cell}", row.network, row.protocol), *further[cell]]:
                scene = Scene.of(row)._replace(network=network, protocol=protocol)
                found[scene].append(Measured(place, row, resolved))
        self.scenes = dict(found)

    @cached_property
    def rules(self) -> dict[str, type[Rule]]:
        return rules(self.config)

    def lacking(self, scene: Scene, distilled: list[Measured]) -> Iterator[str]:
        """What lacks beside the distilled sets of a scene."""
        everything, protocols = scene.ipc == "all", self.instead(scene)
        if protocols is None and not everything:
            yield from self.unlike(scene, distilled)
            return
        there = {
            measured.row.recipe: measured.row.method
            for other, found in self.scenes.items()
            if other[:4] == scene[:4] and (everything or other.protocol in (protocols or ()))
            for measured in found
        }
        wanted = [name for name, rule in self.rules.items() if rule.whole == everything]
        if missing := [rule for rule in wanted if rule not in there]:
            told = f"a distilled set of {scene}, where nothing is measured of {listed(missing)}"
            methods = (there.get(rule) or self.nearest(rule, scene, distilled[0].row) for rule in wanted)
            yield f"{distilled[0].place}: {told}; run `ddpipe add {','.join(methods)} {scene.options}`"

    def nearest(self, rule: str, scene: Scene, like: settings.Row) -> str:
        """The method by whose row `ddpipe add` measures what `rule` chooses: one that there is, learned alike."""
        found = [row for row in self.config.rows.values() if row.recipe == rule and Scene.of(row)[:3] == scene[:3]]
        return min(found, key=lambda row: row.student != like.student).method if found else rule

    def instead(self, scene: Scene) -> list[str] | None:
        """The protocols by which real images stand beside a set of this scene; None where they can have none."""
        own = self.config.protocol(scene.protocol, scene.dataset)
        if own.refusal("it", {}, "one-hot") is None:
            return [scene.protocol]
        if not (isinstance(own, settings.Trained) and own.requires.keys() == {"lr"}):
            return None
        others = {name: self.config.protocol(name, scene.dataset) for name in self.config.params.protocols}
        return [
            name
            for name, other in others.items()
            if isinstance(other, settings.Trained) and not other.learned_lr and own.alike(other)
        ]

    def unlike(self, scene: Scene, distilled: list[Measured]) -> Iterator[str]:
        """What lacks where no real images can be measured."""
        if any(not m.resolved.distils for m in self.scenes[scene]):
            return
        for place, row, _ in distilled:
            if any(
                self.instead(other) is not None and row in (measured.row for measured in found)
                for other, found in self.scenes.items()
                if other[:4] == scene[:4]
            ):
                continue
            told = f"a distilled set of {scene}, which real images cannot be measured by"
            yield f"{place}: {told}, and nothing undistilled stands there; {self.mend(scene, row)}"
            return

    def mend(self, scene: Scene, row: settings.Row) -> str:
        """A row of the same recipe of which nothing is learned; where there is none, another protocol."""
        used = {(there.method, there.protocol) for there in self.config.rows.values()}
        for method in sorted(self.config.params.methods, key=lambda method: (method, scene.protocol) not in used):
            undistilled = row.model_copy(
                update={"method": method, "network": scene.network, "protocol": scene.protocol}
            )
            with suppress(UserError):
                chosen = resolve(self.config.layers_of(undistilled))
                if chosen.kind == "distillation" and not chosen.distils:
                    written = flow({undistilled.name: short(self.config, undistilled)})[1:-1]
                    return f"write `{written}` under grid: of params.yaml"
        usual = self.config.recipe(next(iter(self.rules))).protocol
        learned = "" if row.student == scene.network else f" --student {row.student}"
        options = f"{scene._replace(protocol=usual).options}{learned}"
        return f"measure it under another one too: `ddpipe add {row.method} {options}`"


def listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
