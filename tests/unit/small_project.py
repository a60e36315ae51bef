"""A small project: 8x8 images of three classes, networks that train in a moment; its commands run in this process."""

import hashlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

import stages
from ddpipe import cli
from ddpipe.datasets.preprocessing import Preprocessing, fit
from ddpipe.files.artifacts import file_digest, read_json, write_sealed, write_tensors
from ddpipe.settings import Dataset

ROOT = Path(__file__).parents[2]

PARAMS = """
seed: 0
run: {device: cpu, threads: 1, checkpoint_every: 1, checkpoint_seconds: 0.0}
datasets:
  tiny: {source: npz, path: data/raw/tiny.npz, flip: false}
networks:
  small: {kind: convnet, depth: 1, width: 4, norm: instance, initialisation: default}
  other: {kind: convnet, depth: 2, width: 4, norm: instance, initialisation: default}
experts:
  tiny:
    {data: tiny, network: small, networks: 1, keep: last, epochs: 1, lr: 0.01, momentum: 0.9, weight_decay: 0.0005,
     batch: 8, drop: half, drop_resets_momentum: true, augment: none}
generators:
  tiny:
    {data: tiny, buffer: tiny, noise: 3, width: 1, steps: 3, critic_steps: 2, batch: 8, augment: color_crop,
     average: 0.5, generator: {optimizer: adam, lr: 0.001, betas: [0.0, 0.999]},
     critic: {optimizer: adam, lr: 0.001, betas: [0.0, 0.999]},
     inversion: {optimizer: adam, lr: 0.1, betas: [0.9, 0.999], steps: 2, batch: 20, features: 1.0}}
protocols:
  quick:
    {epochs: 1, lr: 0.01, momentum: 0.9, weight_decay: 0.0005, batch: 8, drop: half, drop_resets_momentum: true,
     extra_epoch: false, networks: 1, augment: color_crop, exceptions: {tiny: {epochs: 2}}}
  again:
    {epochs: 1, lr: 0.01, momentum: 0.9, weight_decay: 0.0005, batch: 8, drop: half, drop_resets_momentum: true,
     extra_epoch: false, networks: 1, augment: none}
methods: {dm: {}, dc: {}, random: {}, herding: {}}
grid: {}
evaluations:
  dm-tiny-1-other-again: {cell: dm-tiny-1, dataset: tiny, data: tiny, network: other, protocol: again}
  random-tiny-1-other-again: {cell: random-tiny-1, dataset: tiny, data: tiny, network: other, protocol: again}
  herding-tiny-1-other-again: {cell: herding-tiny-1, dataset: tiny, data: tiny, network: other, protocol: again}
courses:
  dc-tiny-1: {cell: dc-tiny-1, dataset: tiny, data: tiny, experts: tiny, snapshots: [0]}
reports: {tiny: {}}
"""

DVC = """
vars:
- ddpipe/methods/dm.yaml:grid
- ddpipe/methods/dc.yaml:grid
- ddpipe/methods/random.yaml:grid
- ddpipe/methods/herding.yaml:grid
"""

PARTS = {
    "dm": """{kind: distillation, synthetic: {name: pixels, init: real}, objective: {name: distribution},
      students: {name: fresh}, augment: color_crop, outer: {images: {lr: 1.0, momentum: 0.5}}, iterations: 3,
      real_batch: 4, sets: 1}""",
    "dc": """{kind: distillation, synthetic: {name: pixels, init: noise}, objective: {name: gradient, metric: ours},
      students: {name: trained, outer_loop: 1, inner_loop: 1, lr: 0.01, momentum: 0.0, batch: 256, augment: none},
      augment: none, outer: {images: {lr: 0.1, momentum: 0.0}}, iterations: 3, real_batch: 4, sets: 1}""",
    "random": "{kind: selection, rule: random, sets: 2}",
    "herding": "{kind: selection, rule: herding, sets: 1}",
}
LATENTS = {  # a method whose sets are as large as the data: tests that need one `Project.put` it into the project
    "itgan": """{kind: distillation, synthetic: {name: latents, noise: 3, width: 1, start: inverted},
      objective: {name: distribution, batch: 3}, regulariser: {name: partners, weight: 0.5, batch: 2},
      students: {name: fresh}, augment: color_crop, outer: {latents: {optimizer: adam, lr: 0.01, betas: [0.9, 0.999]}},
      iterations: 3, real_batch: 4, sets: 1}"""
}
STAGES = ("resolve", "prepare", "experts", "generators", "distill", "evaluate", "course", "report", "page")

INFO = {  # what distilled.json says of a cell, but for `classes`
    **{"cell": "dm-tiny-1", "method": "dm", "recipe": "dm", "dataset": "tiny", "data": "tiny", "ipc": 1, "seed": 0},
    **{"network": "small", "settings": {}, "budget": {"floats": 192, "images_per_class": 1.0}},
    "data_checksum": "0" * 64,
}


def plain(channels: int = 1) -> Preprocessing:
    """Images as they were read: 0..255 becomes 0..1."""
    return fit(torch.zeros(1, channels, 1, 1, dtype=torch.uint8), Dataset(source="digits", standardise="none"))


def reseal(folder: Path, about: dict[str, Any] | None = None, **files: dict[str, torch.Tensor]) -> None:
    """Change a distilled folder as its writer would: `about` what it says, `files` the tensors of a file (`set_0`)."""
    for name, tensors in files.items():
        write_tensors(folder / f"{name.removeprefix('set_')}.safetensors", tensors)
    old = read_json(folder / "distilled.json")
    digests = {name: file_digest(folder / name) for name in old["files"] if (folder / name).exists()}
    said = old | {"files": digests} | (about or {})
    write_sealed(folder / "distilled.json", {key: value for key, value in said.items() if key != "seal"})


def recipe(method: str) -> str:
    needs = {"herding": "data/experts/tiny", "itgan": "data/generators/tiny"}.get(method, "data/prepared/tiny")
    ipc = "all" if method in LATENTS else 1
    return f"""
{method}:
  paper: A paper
  protocol: quick
  parts: {(PARTS | LATENTS)[method]}
  cells: {{default: {{}}, tiny-{ipc}: {{}}}}
grid:
  {method}-tiny-{ipc}: {{method: {method}, recipe: {method}, cell: tiny-{ipc}, dataset: tiny, data: tiny, ipc: {ipc},
    student: small, network: small, protocol: quick, needs: {needs}}}
"""


def arrays() -> dict[str, np.ndarray]:
    """Images of three classes, the last one with five training images."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [12, 12, 5])
    test = np.repeat([0, 1, 2], 4)
    return {
        "train_images": rng.integers(0, 256, (len(labels), 8, 8), dtype=np.uint8),
        "train_labels": labels,
        "test_images": rng.integers(0, 256, (len(test), 8, 8), dtype=np.uint8),
        "test_labels": test,
    }


class Project:
    """A project folder, and the commands run inside it in this process."""

    def __init__(self, root: Path):
        self.root = root

    def edit(self, file: str, change: Callable[[Any], None]) -> None:
        """Let `change` mutate what the YAML file says."""
        path, yaml = self.root / file, YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        content = yaml.load(path)
        change(content)
        with open(path, "w") as stream:
            yaml.dump(content, stream)

    def set(self, file: str, key: str, value: Any) -> None:
        """Set the entry at the dotted `key`; keys with dots in them are not needed here."""

        def change(content: Any) -> None:
            *path, last = key.split(".")
            for step in path:
                content = content[step]
            content[last] = value

        self.edit(file, change)

    def put(self, method: str) -> None:
        """A recipe with its row, and all that names them."""
        (self.root / f"ddpipe/methods/{method}.yaml").write_text(recipe(method))
        self.set("params.yaml", f"methods.{method}", {})
        self.edit("dvc.yaml", lambda content: content["vars"].append(f"ddpipe/methods/{method}.yaml:grid"))

    def npz(self, **change: np.ndarray) -> None:
        np.savez(self.root / "data/raw/tiny.npz", **(arrays() | change))

    def run(self, *words: str) -> int:
        """Run a stage (`prepare tiny`) or a command of ddpipe (`check`); the exit code."""
        name, old = words[0], sys.argv
        sys.argv = [name, *(words[1:] if name in STAGES else words)]
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(self.root)
                if name in STAGES:
                    module = importlib.import_module(f"stages.{name}")
                    stages.run_command(getattr(module, "main", None) or getattr(module, name))
                else:
                    cli.main()
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            sys.argv = old
        return 0

    def outputs(self) -> dict[str, str]:
        """Digest of every file that stages write, temporary ones included; checkpoints and raw data are left out."""
        folders = [*(self.root / "data").iterdir(), self.root / "reports"]
        files = [p for f in folders if f.name not in ("raw", "checkpoints") for p in f.rglob("*") if p.is_file()]
        return {str(p.relative_to(self.root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
