"""Real images measured as a cell is: random ones, chosen ones, and all of them."""

from collections import Counter
from typing import Any

from ddpipe import settings
from ddpipe.checks.baselines import rules
from ddpipe.config import Config, resolve
from ddpipe.errors import UserError
from ddpipe.planning.additions import Entries, Growing
from ddpipe.rows import Draft, equipped, guess, short
from ddpipe.settings.protocols.trained import STEP
from ddpipe.settings.reading import validate


def rows_of(config: Config, made: Draft) -> Entries:
    return made.trained | {"grid": {made.row.name: short(config, made.row)}}


def rival(growing: Growing, method: str, row: settings.Row) -> None:
    """`method` at the row's size, measured as the row is: by a row, or by an evaluation of the row that there is.

    All images have the protocol of their recipe: at as many passes as a small set they would take ages. So have others
    where real images lack what was learned with the row's sets; these are then measured under that protocol too.
    """
    everything = rules(growing.config)[method].whole
    if row.ipc == "all" and not everything:
        return  # chosen images are some of all
    usual, protocol = growing.config.recipe(method).protocol, counterpart(growing, row.protocol, learned=False)
    if everything or growing.config.protocol(protocol, row.dataset).refusal("it", {}, "one-hot"):
        protocol = usual
        if not everything:
            growing.put(further(growing.config, row, row.network, protocol))
    project, ipc = growing.config, "all" if everything else row.ipc
    found = [there for there in alike(project, method, row.dataset, ipc) if there.data == row.data]
    if found:
        nearest = min(found, key=lambda there: there.student != row.student)
        growing.put(further(project, nearest, row.network, protocol))
        return
    others = [there for there in project.rows.values() if (there.method, there.data) == (method, row.data)]
    students = Counter(there.student for there in others or [row])  # in whose features some of them choose
    given = {"data": row.data, "student": students.most_common(1)[0][0], "network": row.network, "protocol": protocol}
    new = guess(project, method, row.dataset, ipc, given)
    if new.name in project.rows or new.data != new.dataset:
        new = apart(project, new)
    growing.put(rows_of(project, equipped(project, new, growing.added.get("experts", ()))))


def alike(project: Config, method: str, dataset: str, ipc: int | str) -> list[settings.Row]:
    """The rows of so many images, of any form and network."""
    rows = project.rows.values()
    return [there for there in rows if (there.method, there.dataset, there.ipc) == (method, dataset, ipc)]


def apart(project: Config, row: settings.Row) -> settings.Row:
    """The row, with a variant if it is of other data or another network than the method's other rows on its dataset."""
    plain = [
        there
        for there in project.rows.values()
        if (there.method, there.dataset, there.variant) == (row.method, row.dataset, None)
    ]
    if not plain or row.name not in project.rows and (row.data, row.student) in {(p.data, p.student) for p in plain}:
        return row
    usual = project.rows.get(row.name, plain[0])
    words = [row.data.removeprefix(f"{row.dataset}-")] if row.data != usual.data else []
    words += [row.student] if row.student != usual.student else []
    variant: Any = row.model_dump(mode="json") | {"variant": "-".join(words)}
    return validate(settings.Row, variant, f"grid.{row.name}-{'-'.join(words)}")


def further(project: Config, row: settings.Row, network: str, protocol: str) -> Entries:
    """The evaluation of a row that there is, on a network under a protocol; nothing where it is measured so."""
    entry = {"cell": row.name, "dataset": row.dataset, "data": row.data, "network": network, "protocol": protocol}
    key = settings.Evaluation.model_validate(entry).name
    own = (row.network, row.protocol) == (network, protocol)
    return {} if own or key in project.evaluations else {"evaluations": {key: entry}}


def suited(growing: Growing, protocol: str, row: settings.Row) -> str:
    """`protocol`, or its counterpart for sets like the row's.

    Sets whose authors train with the learned step size have it; sets that have none are measured with a stated one.
    """
    project = growing.config
    authors = project.params.protocols.get(project.recipe(row.recipe).protocol)
    if "lr" not in resolve(project.layers_of(row)).hints:
        return counterpart(growing, protocol, learned=False)
    return counterpart(growing, protocol, learned=True) if authors and "lr" in authors.requires else protocol


def counterpart(growing: Growing, name: str, learned: bool) -> str:
    """The protocol `name` with the step size that is learned with a set or, as real images have none, a stated one.

    Itself, one that is else the same, or a new one.
    """
    protocols = growing.config.params.protocols
    own = protocols[name]
    if not isinstance(own, settings.Trained) or own.learned_lr == learned:
        return name
    for other, numbers in protocols.items():
        if isinstance(numbers, settings.Trained) and numbers.learned_lr == learned and own.alike(numbers):
            return other
    said = growing.config.files["params.yaml"]["protocols"][name]
    step = {"learned_lr": True} if learned else {"lr": own.lr}
    new = f"{name}-{'learned' if learned else 'real'}"
    if new in protocols:
        raise UserError(f"protocols.{new}: exists, but is not {name} with {step}; rename it, or mend it")
    growing.put({"protocols": {new: {key: value for key, value in said.items() if key not in STEP} | step}})
    return new
