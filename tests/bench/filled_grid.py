"""A project in which every evaluation of the grid has a result, with pictures, losses and costs; all made up."""

import csv
import io
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ddpipe import config
from ddpipe.config import Config, ResultKey, results_of
from ddpipe.files.artifacts import write_bytes, write_sealed
from ddpipe.pipeline import costs
from ddpipe.pipeline.results import HEADER, digest
from ddpipe.report.pictures import image_grid
from tests.tracked import TRACKED

POINTS = 200  # of a loss curve, as stages/evaluate.py keeps them
HARDWARE = {"hardware": "Made-up CPU", "threads": 1, "device": "CPU made up, 1 threads", "commit": "0" * 40}


def fill(root: Path) -> int:
    """Make the project at `root`; how many results it has."""
    for folder in ("ddpipe/methods", "data/published"):
        shutil.copytree(TRACKED / folder, root / folder)
    for file in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(TRACKED / file, root / file)
    project = config.load(root)
    picture = image_grid(np.random.default_rng(0).random((100, 3, 32, 32), dtype=np.float32), 10)
    keys = [key for dataset in {row.dataset for row in project.rows.values()} for key in results_of(project, dataset)]
    for key in keys:
        put(project, key, picture)
    return len(keys)


def put(project: Config, key: ResultKey, picture: bytes) -> None:
    row, chosen, path = project.row(key.cell), project.resolved(key.cell), project.path(key)
    draw = np.random.default_rng(list(path.name.encode()))
    sets, networks = chosen.sets, project.protocol(key.protocol, row.dataset).networks
    accuracies = draw.normal(draw.uniform(20, 80), 1.0, (sets, networks)).tolist()
    flat = [value for values in accuracies for value in values]
    mean = math.fsum(flat) / len(flat)
    beside: dict[str, bytes] = {}
    if project.is_main(key):
        beside = {f"{key.cell}.png": picture, f"{key.cell}.loss.csv": losses(draw, sets if chosen.distils else 0)}
    for name, content in beside.items():
        write_bytes(path.with_name(name), content)
    result: dict[str, Any] = row.model_dump(include={"method", "recipe", "dataset", "data", "ipc"})
    result |= {"cell": key.cell, "network": key.network, "protocol": key.protocol, "accuracies": accuracies}
    result |= {"mean": mean, "std": math.sqrt(math.fsum((value - mean) ** 2 for value in flat) / len(flat))}
    result |= {"n": len(flat), "sets": sets, "networks": networks, "overrides": project.overrides(key.cell)}
    result |= {"budget": {"floats": 3072, "images_per_class": 1.0}, "per_class": [mean] * 10, "balanced": mean}
    result |= {"files": {name: digest(content) for name, content in beside.items()}, "digest": "0" * 64}
    spent = {"seconds": 9.0, "processor_seconds": 8.0, "peak_memory_mb": 500.0, "load": 1.0} | HARDWARE
    made = spent | {"processor_seconds": float(draw.lognormal(5, 2)), "iterations": 1000} if chosen.distils else None
    seal = write_sealed(path, result)
    write_sealed(project.root / costs.place(key.name), {"costs": {seal: spent | {"distillation": made}}})


def losses(draw: np.random.Generator, sets: int) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(HEADER)
    for number in range(sets):
        curve = np.exp(-np.linspace(0, 3, POINTS)) + draw.uniform(0, 0.1, POINTS)
        table.writerows((number, 5 * i, f"{loss:.6g}") for i, loss in enumerate(curve))
    return text.getvalue().encode()
