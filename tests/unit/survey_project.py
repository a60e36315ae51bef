"""A small grid on CIFAR-10 whose results stand in the survey's tables, and the tables filled from it."""

import re
from pathlib import Path

from ddpipe import config
from ddpipe.files.artifacts import write_json, write_text
from ddpipe.report import published, survey
from ddpipe.report.frame import collect_all

ROOT = Path(__file__).parents[2]
FILLED = {"1": 232, "2": 13, "3": 51, "4": 36}  # printed cells of each table

PARAMS = """
seed: 0
datasets: {cifar10: {source: cifar10}, cifar10-jpeg75: {source: npz, path: x, flip: true}}
networks:
  convnet3: {kind: convnet, depth: 3, width: 128, norm: instance, initialisation: default}
  convnet3_w16: {kind: convnet, depth: 3, width: 16, norm: instance, initialisation: default}
  plain18:
    {kind: resnet, block: basic, blocks: [2, 2, 2, 2], widths: [64, 128, 256, 512], norm: instance,
     downsampling: stride, initialisation: default}
  resnet18_bn:
    {kind: resnet, block: basic, blocks: [2, 2, 2, 2], widths: [64, 128, 256, 512], norm: batch, downsampling: stride,
     initialisation: default}
  resnet152_in:
    {kind: resnet, block: bottleneck, blocks: [3, 8, 36, 3], widths: [64, 128, 256, 512], norm: instance,
     downsampling: stride, initialisation: default}
  resnet10_w32_bn:
    {kind: resnet, block: basic, blocks: [1, 1, 1, 1], widths: [32, 64, 128, 256], norm: batch, downsampling: stride,
     initialisation: he}
  resnet10_bn:
    {kind: resnet, block: basic, blocks: [1, 1, 1, 1], widths: [64, 128, 256, 512], norm: batch, downsampling: stride,
     initialisation: he}
  densenet121_g12_bn: {kind: densenet, blocks: [6, 12, 24, 16], growth: 12, norm: batch}
  densenet121_g32_bn: {kind: densenet, blocks: [6, 12, 24, 16], growth: 32, norm: batch}
protocols:
  dc:
    {epochs: 2, lr: 0.01, momentum: 0.9, weight_decay: 0.0005, batch: 256, drop: half, drop_resets_momentum: true,
     extra_epoch: false, augment: none, networks: 5}
  dsa:
    {epochs: 3, lr: 0.01, momentum: 0.9, weight_decay: 0.0005, batch: 256, drop: half, drop_resets_momentum: true,
     extra_epoch: false, augment: none, networks: 5}
  dcbench:
    {epochs: 4, lr: 0.01, momentum: 0.9, weight_decay: 0.0005, batch: 256, drop: half, drop_resets_momentum: true,
     extra_epoch: false, augment: none, networks: 5}
  idc:
    {epochs: 5, lr: 0.01, momentum: 0.9, weight_decay: 0.0005, batch: 256, drop: half, drop_resets_momentum: true,
     extra_epoch: false, augment: none, networks: 5}
  short:
    {epochs: 1, lr: 0.01, momentum: 0.9, weight_decay: 0.0005, batch: 256, drop: half, drop_resets_momentum: true,
     extra_epoch: false, augment: none, networks: 5}
methods: {random: {}, dm: {}, dsa: {}, kfs: {}, dm-short: {base: dm, iterations: 7, real_batch: 256, sets: 5}}
grid:
  dm-short-cifar10-1: {method: dm-short, recipe: dm, cell: default, dataset: cifar10, data: cifar10, ipc: 1,
    student: convnet3, network: convnet3, protocol: dsa, needs: data/prepared/x}
"""
PARTS = (
    "{kind: distillation, synthetic: {name: pixels, init: real}, objective: {name: distribution}, "
    "students: {name: fresh}, augment: none, outer: {images: {lr: 1.0, momentum: 0.0}}, "
    "iterations: 10, real_batch: 256, sets: 5}"
)
TABLES = {"random": "", "dm": "tables: {3: dcbench, 4: idc},", "dsa": "tables: {3: dcbench},", "kfs": ""}


def recipe(method: str) -> str:
    protocol = "dc" if method == "random" else "dsa"
    parts = "{kind: selection, rule: random, sets: 5}" if method == "random" else PARTS
    lines = [f"{method}: {{paper: x, protocol: {protocol}, {TABLES[method]} parts: {parts}, cells: {{default: {{}}}}}}"]
    lines.append("grid:")
    for dataset in ("cifar10", "cifar10-jpeg75"):
        lines += [
            f"  {method}-{dataset}-{ipc}: {{method: {method}, recipe: {method}, cell: default, dataset: {dataset}, "
            f"data: {dataset}, ipc: {ipc}, student: convnet3, network: convnet3, "
            f"protocol: {protocol}, needs: data/prepared/x}}"
            for ipc in (1, 10)
        ]
    lines.append("evaluations:")
    lines += [
        f"  {method}-cifar10-{ipc}-{network}-{protocol}: "
        f"{{cell: {method}-cifar10-{ipc}, dataset: cifar10, data: cifar10, network: {network}, protocol: {protocol}}}"
        for ipc in (1, 10)
        for network, protocol in (
            ("convnet3", "short"),
            ("plain18", "dcbench"),
            ("plain18", "dsa"),
            ("convnet3", "dsa"),
        )
        if (network, protocol) != ("convnet3", "dsa") or method == "random"  # the others' main evaluation
    ]
    return "\n".join(lines) + "\n"


def make(root: Path) -> Path:
    """The project without a result in it."""
    write_text(root / "params.yaml", PARAMS)
    for method in TABLES:
        write_text(root / f"ddpipe/methods/{method}.yaml", recipe(method))
    for number in FILLED:
        path = f"data/published/table{number}.csv"
        write_text(root / path, (ROOT / path).read_text())
    return root


def put(root: Path, cell: str, network: str, protocol: str, mean: float, std: float = 0.2, **more: object) -> None:
    method, dataset, ipc = re.fullmatch(r"(.+?)-(cifar10.*)-(\d+)", cell).groups()
    result = {
        "cell": cell,
        "method": method,
        "dataset": dataset,
        "ipc": int(ipc),
        "network": network,
        "protocol": protocol,
    }
    spread = [step * std * 1.25**0.5 for step in (-1, -1, 0, 1, 1)]  # of five networks with this mean and std
    result |= {
        "accuracies": [[mean + step for step in spread]],
        "n": 5,
        "mean": mean,
        "std": std,
        "sets": 1,
        "networks": 5,
    }
    result |= {"budget": {"floats": 7840, "images_per_class": 1.0}, "overrides": {}}
    write_json(root / "data/results" / dataset / f"{cell}.{network}.{protocol}.json", result | more)


def filled(root: Path) -> dict[str, survey.Table]:
    frames = collect_all(config.load(root))
    return {table.number: table for table in survey.tables(published.read(root / "data/published"), frames)}


def cells(table: survey.Table) -> dict[tuple[str, str, str, str], survey.Cell]:
    return {(line.method, c.dataset, c.ipc, c.network): c for line in table.lines for c in line.cells}
