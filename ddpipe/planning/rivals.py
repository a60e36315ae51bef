"""Real images measured as a cell is: random ones, chosen ones, and all of them."""

from ddpipe import settings
from ddpipe.config import Config, resolve
from ddpipe.errors import UserError
from ddpipe.planning.additions import Entries, Growing
from ddpipe.rows import Draft, draft, short
from ddpipe.settings.protocols.trained import STEP


def rows_of(config: Config, made: Draft) -> Entries:
    return made.trained | {"grid": {made.row.name: short(config, made.row)}}


def baselines(project: Config) -> list[str]:
    """The published methods that choose real images, the one that takes all last."""
    parts = {name: project.recipes[name].parts for name in project.params.methods if name in project.recipes}
    found = [name for name, said in parts.items() if said.get("kind") == "selection"]
    return sorted(found, key=lambda name: whole(project, name))


def whole(project: Config, method: str) -> bool:
    return project.recipe(method).parts.get("rule") == "whole"


def rival(growing: Growing, method: str, row: settings.Row) -> None:
    """`method` at the row's size, measured as the row is: by a row, or by an evaluation of the row that there is.

    All images have the protocol of their recipe: at as many passes as a small set they would take ages. So have others
    where real images lack what was learned with the row's sets; these are then measured under that protocol too.
    """
    everything = whole(growing.config, method)
    if row.ipc == "all" and not everything:
        return  # chosen images are some of all
    ipc = "all" if everything else row.ipc
    usual, protocol = growing.config.recipe(method).protocol, counterpart(growing, row.protocol, learned=False)
    if everything or growing.config.protocol(protocol, row.dataset).refusal("it", {}, "one-hot"):
        protocol = usual
        if not everything:
            growing.put(further(growing.config, row, row.network, protocol))
    project = growing.config
    found = [there for there in project.rows.values() if same(there, method, row.dataset, ipc)]
    if not found:
        given = {"data": row.data, "student": row.student, "network": row.network, "protocol": protocol}
        made = draft(project, method, row.dataset, ipc, given, growing.added.get("experts", ()))
        growing.put(rows_of(project, made))
    else:
        nearest = sorted(found, key=lambda there: (there.data != row.data, there.student != row.student))[0]
        growing.put(further(project, nearest, row.network, protocol))


def same(row: settings.Row, method: str, dataset: str, ipc: int | str) -> bool:
    return (row.method, row.dataset, row.ipc) == (method, dataset, ipc)


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
