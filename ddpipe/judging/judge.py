"""A published set, measured as its row of the grid is, beside the published value."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.config import Config, results_of
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.device import lent
from ddpipe.distilled.measure import scored
from ddpipe.errors import UserError
from ddpipe.evaluation import Examination, TrainingSet, mean_and_std
from ddpipe.evaluation.trouble import check
from ddpipe.files import hints
from ddpipe.judging.forms import Given, Publication, open_
from ddpipe.judging.likeness import confused, own_space, spaces
from ddpipe.publication import telling
from ddpipe.publication.matching import printed
from ddpipe.report import published
from ddpipe.report.frame import COMPARABLE
from ddpipe.settings import Row
from ddpipe.synthetic.multiformation import formed


@dataclass(frozen=True)
class Wish:
    """How a file is to be judged; what is left out is that of the row."""

    file: Path
    cell: str  # the row whose data set, budget, network, protocol and published value count
    data: str = ""  # the prepared form in whose pixel space the images are
    labels: Path | None = None
    lr: float | None = None  # learned with the set
    factor: int | None = None  # of IDC: an image holds factor x factor smaller ones
    networks: int | None = None
    anyway: bool = False  # whatever the statistics of the images say


def judge(project: Config, wish: Wish) -> str:
    """Lines for people: what the file holds, each set's accuracy, and the published value beside them.

    Raises:
        UserError: the file holds no set of this row, or not in the pixel space that `wish` names.
    """
    row = project.row(wish.cell)
    if not wish.data:
        raise UserError(f"--data is missing: say in which pixel space the images are; {forms(project, row)}")
    known = project.params.datasets
    if wish.data in known and known[wish.data].source != known[row.dataset].source:
        raise UserError(f"--data {wish.data}: other images than those of {row.dataset}; {forms(project, row)}")
    if wish.lr is not None and not 0 < wish.lr < math.inf:
        raise UserError(f"--lr {wish.lr:g}: a learned step size is above 0; give that of the authors' file")
    publication, prepared = open_(wish.file, wish.labels), Prepared.of(project, wish.data)
    if wish.factor is not None and not any(given.formed for given in publication.sets):
        raise UserError(f"--factor {wish.factor}: no image of {wish.file} holds smaller ones; leave it out")
    settings = project.params.datasets[wish.data]
    rules, architecture = project.protocol(row.protocol, row.dataset), project.network(row.network)
    if wish.lr is not None and getattr(rules, "learned_lr", None) is False:
        raise UserError(f"--lr {wish.lr:g}: protocol {row.protocol} has a step size of its own; leave it out")
    looks = spaces(prepared, settings)
    lines = [f"{wish.file}: {said(publication)}; {wish.cell} under protocol {row.protocol}, network {row.network}"]
    count, accuracies = wish.networks or rules.networks, []
    with lent(project.params.run) as device:
        test = Resident(prepared.test_images, prepared.test_labels, prepared.preprocessing, device)
        examination = Examination(
            architecture, rules, test, len(prepared.classes), prepared.flip, project.params.run.compile
        )
        for number, given in enumerate(publication.sets):
            where = f"set {number} of {wish.file}"
            check_shape(where, given, prepared, row)
            if not given.formed and (why := confused(given.images, own_space(settings), looks)) and not wish.anyway:
                raise UserError(f"{where}: {why}; name another --data ({forms(project, row)}), or say --anyway")
            images, targets = decoded(where, given, prepared, wish.factor)
            tensors = {"images": images, "targets": targets}
            if wish.lr is not None:
                tensors |= hints.as_tensors({"lr": torch.tensor(float(wish.lr))})
            scale = project.resolved(wish.cell).scale if given.labels.dim() == 2 else "one-hot"
            if why := rules.refusal("the set", hints.shapes(hints.of(tensors)), scale):
                raise UserError(f"{where}: it {why}; say the learned step size with --lr")
            data = TrainingSet.of(tensors, scale, prepared, device)
            check(examination, data.hints, data.size, f"protocols.{row.protocol}", where)
            names = (project.params.seed, "judge", wish.cell, number)
            scores = scored(examination, data, project.params.run, names, count, where)
            accuracies.append([score.accuracy for score in scores])
            lines.append(f"  set {number}: {told(*mean_and_std(accuracies[-1:]), count)}")
    mean, std = mean_and_std(accuracies)
    lines.append(f"measured here: {told(mean, std, count * len(accuracies))}")
    return "\n".join([*lines, *beside(project, row, mean), *theirs(publication)])


def forms(project: Config, row: Row) -> str:
    """The prepared forms of the row's images, with what each does to them."""
    source = project.params.datasets[row.dataset].source
    known = {name: entry for name, entry in project.params.datasets.items() if entry.source == source}
    words = [f"{name} ({own_space(entry)})" for name, entry in known.items() if entry.resolution is None]
    return f"params.yaml has {', '.join(words)}"


def said(publication: Publication) -> str:
    first = publication.sets[0]
    shape = "x".join(map(str, first.images.shape[1:]))
    return f"{len(publication.sets)} set(s) of {len(first.images)} images of {shape}"


def check_shape(where: str, given: Given, prepared: Prepared, row: Row) -> None:
    """Whether the set can be one of the row's.

    Raises:
        UserError: other images, classes or another budget.
    """
    wanted, classes = (prepared.channels, prepared.resolution, prepared.resolution), len(prepared.classes)
    if given.images.shape[1:] != wanted:
        raise UserError(
            f"{where}: images of {tuple(given.images.shape[1:])}, but {prepared.name} has {wanted}; name another row"
        )
    if given.labels.dim() == 2 and given.labels.shape[1] != classes:
        raise UserError(
            f"{where}: targets of {given.labels.shape[1]} numbers, but {prepared.name} has {classes} classes; "
            "name another row"
        )
    if given.labels.dim() == 1 and not 0 <= int(given.labels.min()) <= int(given.labels.max()) < classes:
        raise UserError(f"{where}: a label goes beyond the {classes} classes of {prepared.name}; name another row")
    if row.ipc != "all" and len(given.images) != row.ipc * classes:
        each = len(given.images) / classes
        raise UserError(f"{where}: {each:g} images a class, but {row.name} has {row.ipc}; name another row")
    if bool((given.images == given.images[0]).all()):
        raise UserError(f"{where}: all its images are the same; save it again")
    if given.labels.dim() == 1 and row.ipc != "all":
        counts = given.labels.bincount(minlength=classes)
        if bool((counts != row.ipc).any()):
            odd = int((counts != row.ipc).nonzero()[0])
            held = f"{counts[odd]} images of class {prepared.classes[odd]}"
            raise UserError(f"{where}: {held}, but {row.name} has {row.ipc} of each; save each with its own label")


def decoded(where: str, given: Given, prepared: Prepared, factor: int | None) -> tuple[Tensor, Tensor]:
    """Images in the pixel space of the data (V, c, h, h) and targets (V, K)."""
    classes = len(prepared.classes)
    targets = F.one_hot(given.labels, classes).float() if given.labels.dim() == 1 else given.labels
    if not given.formed:
        return given.images, targets
    if factor is None:
        raise UserError(f"{where}: each image holds factor x factor smaller ones; say how many with --factor")
    if float(given.images.min()) < -1 or float(given.images.max()) > 2:
        raise UserError(
            f"{where}: values from {float(given.images.min()):g} to {float(given.images.max()):g} are no "
            "pictures from 0 to 1, as IDC keeps them; save its images and labels as an npz"
        )
    rows = torch.arange(len(given.images)).repeat_interleave(factor**2)
    places = torch.arange(factor**2).repeat(len(given.images))
    examples = formed(given.images.clamp(0, 1), factor, rows, places)
    return prepared.preprocessing.transform(255 * examples), targets[rows]


def told(mean: float, std: float, n: int) -> str:
    return f"{mean:.1f} +- {std:.1f} %, n = {n}" if n > 1 else f"{mean:.1f} %, n = 1"


def beside(project: Config, row: Row, mean: float) -> list[str]:
    """What the survey prints, and the authors report, of the row; no difference where the row evaluates otherwise."""
    table = published.lookup(published.read(project.root / "data" / "published"))
    network = printed(project.network(row.network))
    cited = table.get((row.recipe, row.dataset, str(row.ipc), network), published.NOTHING)
    values = {
        "the survey": (cited.mean, cited.std),
        "its authors": (cited.source_mean, cited.source_std),
    }
    known = {who: value for who, value in values.items() if not math.isnan(value[0])}
    note = [cited.note] if cited.note else []
    if not known:
        return note or ["nobody published a value of this row"]
    key = next(key for key in results_of(project, row.dataset) if key.cell == row.name)
    worth = telling.Publication(project).of_evaluation(key)
    lines = []
    for who, (value, spread) in known.items():
        error = "" if math.isnan(spread) else f" +- {spread:.1f}"
        less = f"; measured less published: {mean - value:+.1f} points" if worth.state in COMPARABLE else ""
        lines.append(f"{who}: {value:.1f}{error} %{less}")
    if worth.state not in COMPARABLE:
        lines.append(f"not to be compared, for {row.name} evaluates otherwise: {worth.why}")
    return [*lines, *note]


def theirs(publication: Publication) -> list[str]:
    """The accuracies that the file itself tells."""
    return [
        f"the file says of {name}: {told(*mean_and_std([values]), len(values))}"
        for name, values in publication.accuracies.items()
    ]
