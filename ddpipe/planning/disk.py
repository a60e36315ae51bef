"""Bytes of what the stages leave: their outputs. DVC's cache and data/checkpoints each hold another copy of most."""

import torch

from ddpipe import networks, settings
from ddpipe.settings.shapes import Data, Shape
from ddpipe.settings.work import Cell

JSON = 1000  # bytes of the file beside the tensors
HEADER = 200  # bytes at the start of a file of tensors
FLOAT, INDEX = 4, 8
PICTURE = 60_000  # bytes of a cell's picture at most: ddpipe/report/pictures.py
POINT, POINTS = 20, 200  # bytes of a point of a loss curve, and points a curve: stages/evaluate.py


def preprocessing(data: Data) -> int:
    """The fitted numbers; the whitening's matrix is what counts."""
    values = data.shape.values
    return HEADER + (FLOAT * (values**2 + values) if data.whitened else 0)


def prepared(data: Data) -> int:
    return (data.train + data.test) * (data.shape.values + INDEX) + preprocessing(data) + JSON


def parameters(network: settings.Network, shape: Shape) -> int:
    """Numbers of a network, counted without allocating them."""
    with torch.device("meta"):
        built = networks.build(network, shape.channels, shape.resolution, shape.classes, "meta")
    return sum(p.numel() for p in built.parameters())


def experts(buffer: settings.Experts, data: Data, network: settings.Network) -> int:
    """The kept snapshots of every network."""
    kept = buffer.passes + 1 if buffer.keep == "all" else 1
    number = FLOAT if buffer.dtype == "float32" else FLOAT // 2
    return JSON + buffer.networks * (kept * number * parameters(network, data.shape) + HEADER)


def generators(chosen: settings.Generators, data: Data) -> int:
    """Weights, and of every training image a latent and its row."""
    numbers = chosen.weights(data.shape) + data.train * chosen.noise
    return JSON + 2 * HEADER + FLOAT * numbers + INDEX * data.train


def learned(cell: Cell) -> int:
    """Images, targets and losses of every set, and the snapshots of one."""
    images = cell.shown * cell.styles
    one = FLOAT * (images * (cell.data.shape.values + cell.classes) + cell.chosen.steps)
    snapshots = len(getattr(cell.chosen, "snapshots", ())) * (one - FLOAT * cell.chosen.steps + HEADER)
    return JSON + preprocessing(cell.data) + cell.chosen.sets * (one + HEADER) + snapshots


def chosen(selection: settings.Selection, count: int, data: Data) -> int:
    """Row numbers of `count` images a set."""
    return JSON + preprocessing(data) + selection.sets * (INDEX * count + HEADER)


def results(networks_trained: int) -> int:
    """The JSON of one evaluation."""
    return JSON + POINT * networks_trained


def pictures(data: Data, count: int, sets: int, iterations: int) -> int:
    """The picture of `count` images and the loss curves."""
    tiles = min(count, 10 * data.shape.classes)
    return min(PICTURE, tiles * max(100, data.shape.values)) + POINT * (1 + sets * min(iterations, POINTS))
