"""Stage `course@<cell>`: what is seen of a cell while it is distilled, from the snapshots that were kept of it."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from ddpipe import config, networks
from ddpipe.config import Config
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.device import choose, keep_freed_memory
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.distilled.loaded import load
from ddpipe.distilled.sets import Distilled
from ddpipe.errors import UserError
from ddpipe.evaluation import Examination, TrainingSet, mean_and_std
from ddpipe.evaluation import space as spaces
from ddpipe.evaluation.kept import Kept
from ddpipe.evaluation.trouble import check
from ddpipe.experts.buffer import Buffer
from ddpipe.experts.training import restore_
from ddpipe.files import hints
from ddpipe.files.artifacts import digest, write_bytes, write_sealed
from ddpipe.memory import images_at_once
from ddpipe.pipeline import courses, resolved
from ddpipe.pipeline.descriptions import set_file
from ddpipe.progress import Progress
from ddpipe.randomness import generator
from ddpipe.report.strip import strip
from ddpipe.settings.reading import did_you_mean
from stages import claim, key_of, run_command
from stages.evaluate import check_cell

DIGITS = 3  # behind the point, of coordinates in a file


def main(cell: Annotated[str, typer.Argument(help="a cell under `courses:`, for example dm-digits-10")]) -> None:
    """Train networks on the snapshots of CELL's set 0 and test them; look at its images.

    Writes into data/results/<dataset> CELL.course.json (every accuracy after each of `snapshots:` and of the finished
    set), CELL.course.png (an image of each class as it changes) and CELL.space.json (real images, those of the set and
    random ones in the features of an expert, and how many real ones they cover). Nothing is chosen by any of it.
    """
    project, cell = config.load(), key_of("course", address=cell)
    if cell not in project.courses:
        raise UserError(f"no cell {cell!r} under courses{did_you_mean(cell, list(project.courses))}")
    row, entry = project.row(cell), project.courses[cell]
    place = Path("data/results") / row.dataset
    outputs = [place / f"{cell}.{kind}" for kind in ("course.json", "course.png", "space.json")]
    reads = ["resolve", f"prepare@{row.data}", f"experts@{entry.experts}", f"distill@{cell}"]
    claim(f"course@{cell}", outputs, reads)
    numbers = resolved.of_course(project, cell)
    resolved.check(project, f"course/{cell}", numbers)
    device = choose(project.params.run)
    keep_freed_memory()
    prepared, found = Prepared.of(project, row.data), Distilled.open(Path("data/distilled") / cell)
    check_cell(found, project, cell)
    found.check_same_data(prepared)
    buffer = Buffer(Path("data/experts") / entry.experts, device)
    buffer.check(prepared.checksum, numbers["features"])

    known = kept(project, cell)
    measured, placed = accuracies(project, cell, found, prepared, device, known[0]), None
    inputs = {"numbers": numbers, "experts": buffer.about["seal"], "set": found.about.files[set_file(0)]}
    if known[1] is None or known[1].fingerprint != digest(inputs):
        placed = space(project, cell, found, prepared, buffer, device) | {"fingerprint": digest(inputs)}
    loaded = [load(found.folder, 0, at=at) for at in moments(found)[:-1]] + [load(found.folder, 0)]
    by_class = loaded[-1].by_class()
    firsts = torch.stack([own[0] for own in by_class.values()])
    heads = [str(at) for at in measured["iterations"]]
    picture = strip([own.pixels()[firsts].numpy() for own in loaded], list(by_class), heads)
    write_bytes(outputs[1], picture)
    measured["files"] = {outputs[1].name: hashlib.sha256(picture).hexdigest()}
    write_sealed(outputs[0], measured)
    if placed is not None:
        write_sealed(outputs[2], placed)


def kept(project: Config, cell: str) -> tuple[courses.Course | None, courses.Space | None]:
    """What lies there already, as far as it is whole: DVC may have lost its own record."""
    try:
        return courses.course(project, cell), courses.space(project, cell)
    except UserError:
        return None, None


def moments(found: Distilled) -> list[int | None]:
    """The iterations of the snapshots before the finished set, which is None."""
    return [*(at for at in found.about.snapshots if at < length(found)), None]


def length(found: Distilled) -> int:
    """Iterations of set 0."""
    return len(found.tensors(0).get("loss", ()))


def accuracies(
    project: Config, cell: str, found: Distilled, prepared: Prepared, device: torch.device, known: courses.Course | None
) -> dict[str, Any]:
    """The accuracies at every moment: those of networks that begin alike, and of the finished set those of its result.

    Args:
        known: where these very accuracies may be taken from.
    """
    params, row, entry = project.params, project.row(cell), project.courses[cell]
    rules, architecture = project.protocol(row.protocol, row.dataset), project.network(row.network)
    count, key = entry.networks or rules.networks, f"protocols.{row.protocol}"
    test = Resident(prepared.test_images, prepared.test_labels, prepared.preprocessing, device)
    examination = Examination(
        architecture, rules, test, len(prepared.classes), prepared.flip, compiled=params.run.compile
    )
    inputs = {"seed": params.seed, "protocol": rules.model_dump(exclude={"networks", "sets"})}
    inputs |= {"network": architecture.model_dump(), "data": prepared.checksum}
    rows, fingerprints = [], []
    with Progress(f"course of {cell}", len(moments(found)) * count * examination.rule.ticks) as progress:
        for at in moments(found):
            fingerprints.append(digest(inputs | {"set": found.about.files[set_file(0, at)]}))
            if known and known.n == count and fingerprints[-1] in known.fingerprints:
                rows.append(list(known.accuracies[known.fingerprints.index(fingerprints[-1])]))
                continue
            where = f"set 0 of {cell}" + ("" if at is None else f" after iteration {at}")
            tensors = found.tensors(0, prepared, at)
            check(examination, hints.of(tensors), len(tensors["images"]), key, where)
            data = TrainingSet.of(tensors, found.about.targets, prepared, device)
            folder = Path("data/checkpoints/course") / cell / fingerprints[-1][:12]
            kept = Kept.of(Checkpoints(folder, fingerprints[-1]), count, params.run.together)
            names = (params.seed, "evaluate", cell, row.network, row.protocol, 0)
            kept.finish(examination, data, params.run, names, progress, key, where)
            rows.append([piece["accuracy"] for piece in kept.pieces])
    told = [mean_and_std([row]) for row in rows]
    iterations = [length(found) if at is None else at for at in moments(found)]
    said = {"cell": cell, "network": row.network, "protocol": row.protocol, "iterations": iterations, "n": count}
    said |= {"accuracies": rows, "mean": [mean for mean, _ in told], "std": [std for _, std in told]}
    return said | {"fingerprints": fingerprints}


def space(
    project: Config, cell: str, found: Distilled, prepared: Prepared, buffer: Buffer, device: torch.device
) -> dict[str, Any]:
    """Images of the finished set 0, random ones of its budget and others in the features of the first expert."""
    row, entry, classes = project.row(cell), project.courses[cell], len(prepared.classes)
    assert row.ipc != "all", "`ddpipe check` refuses it"
    architecture = project.network(project.params.experts[entry.experts].network)
    network = networks.build(architecture, prepared.channels, prepared.resolution, classes, device)
    restore_(network, buffer.snapshot(0, -1)).eval()
    real = Resident(prepared.train_images, prepared.train_labels, prepared.preprocessing, device)
    draw = generator(project.params.seed, "space", row.data, row.ipc)
    rows = spaces.rows(prepared.train_labels, classes, row.ipc, draw)
    own = load(found.folder, 0)

    def embedded(images: Tensor) -> Tensor:
        parts = images.split(images_at_once(images[0].numel()))
        with torch.no_grad():
            return torch.cat([network.embed(part.to(device)).cpu() for part in parts]).double()

    def of_rows(index: Tensor) -> Tensor:
        parts = index.split(images_at_once(real.images[0].numel()))
        return torch.cat([embedded(real.batch(part)) for part in parts])

    reference, drawn, synthetic = of_rows(rows.reference), of_rows(rows.drawn), embedded(own.images)
    k = spaces.neighbours(len(reference), len(drawn))
    labels = prepared.train_labels[rows.drawn]
    some = torch.cat([(labels == label).nonzero().flatten()[: spaces.SHOWN] for label in range(classes)])
    by_class = [index[: spaces.SHOWN] for index in own.by_class().values()]
    numbers = [prepared.classes.index(name) for name, index in own.by_class().items() for _ in index[: spaces.SHOWN]]
    shown = {
        "real": (of_rows(rows.looked_at), prepared.train_labels[rows.looked_at].tolist()),
        "set": (synthetic[torch.cat(by_class)], numbers),
        "random": (drawn[some], labels[some].tolist()),
    }
    features = [values for values, _ in shown.values()]
    planes, explained = spaces.principal(reference, features)
    placed = spaces.neighbourly(features, draw)
    points = {}
    for (name, (_, of_class)), plane, near in zip(shown.items(), planes, placed, strict=True):
        axes = {"pca_x": plane[:, 0], "pca_y": plane[:, 1], "tsne_x": near[:, 0], "tsne_y": near[:, 1]}
        points[name] = {axis: [round(x, DIGITS) for x in values.tolist()] for axis, values in axes.items()}
        points[name] |= {"classes": of_class}
    share = {"set": spaces.coverage(reference, synthetic, k), "random": spaces.coverage(reference, drawn, k)}
    said = {"cell": cell, "experts": entry.experts, "features": reference.shape[1], "classes": list(prepared.classes)}
    said |= {"neighbours": k, "reference": len(reference), "synthetic": len(synthetic), "drawn": len(drawn)}
    return said | {"coverage": share, "explained": list(explained), "points": points}


if __name__ == "__main__":
    run_command(main)
