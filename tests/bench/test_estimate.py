"""The estimates of `ddpipe plan` beside stages that then run: within a factor of two.

Only single passes are calibrated, none of these cells. Both sides are processor time of one thread, so that other
programs do not matter. Iterations and epochs are cut, not what one of them does.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

import stages
from ddpipe import config
from ddpipe.config import Config
from ddpipe.pipeline import costs, resolved
from ddpipe.planning.calibration import Calibration
from ddpipe.planning.calls import Bench
from ddpipe.planning.estimate import STAGES, demands, estimate
from ddpipe.planning.steps import RUNS, Step
from stages import distill, evaluate, experts, prepare
from tests.tracked import TRACKED

ROOT = Path(__file__).parents[2]
FACTOR = 2.0
NOTED = 0.3  # seconds: what takes less is shown and not judged

DIGITS = [f"{method}-digits-{ipc}" for method in ("dm", "dc", "dsa", "herding", "random") for ipc in (1, 10)]
GREY = [f"{method}-short-grey28-1" for method in ("dm", "dc", "dsa")]  # 28x28, width 16
COLOUR = [f"{method}-few-colour32-2" for method in ("dm", "dc")]  # 32x32, width 128
FOLLOWED = [f"{method}-digits-1" for method in ("mtt", "tesla", "ftd", "haba", "mtt-hallucinators")]
FOLLOWED += ["mtt-few-colour32-2", "haba-few-colour32-2"]  # trajectories, at width 128
CELLS = [*DIGITS, *GREY, *COLOUR, *FOLLOWED]
BUFFERS = ["digits", "digits-trajectories", "digits-flat", "colour32"]
FURTHER = "dm-digits-1-resnet10_w32_bn-transfer"


def images(path: Path, shape: tuple[int, ...], train: int, test: int) -> None:
    """Random images of ten classes."""
    rng = np.random.default_rng(0)
    arrays = {
        "train_images": rng.integers(0, 256, (train, *shape), dtype=np.uint8),
        "train_labels": np.arange(train) % 10,
    }
    arrays |= {"test_images": rng.integers(0, 256, (test, *shape), dtype=np.uint8), "test_labels": np.arange(test) % 10}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def row(cell: str, network: str) -> dict:
    """The row of a cell on random images, by its name."""
    method, data, ipc = cell.rsplit("-", 2)
    recipe = method.partition("-")[0]
    names = {"dataset": data, "data": data, "student": network, "network": network, "protocol": "short"}
    names["needs"] = f"data/experts/{data}" if recipe in ("mtt", "haba") else f"data/prepared/{data}"
    return {"method": method, "recipe": recipe, "cell": "default", "ipc": int(ipc)} | names


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """The project with two datasets of random images, fewer iterations and shorter training."""
    root = tmp_path_factory.mktemp("estimate")
    (root / "ddpipe").symlink_to(ROOT / "ddpipe")
    images(root / "data/raw/grey28.npz", (28, 28), 1280, 500)
    images(root / "data/raw/colour32.npz", (32, 32, 3), 1280, 200)
    params = config.read_yaml(TRACKED / "params.yaml")
    params["run"] = {"device": "cpu", "threads": 1}
    params["datasets"] |= {
        name: {"source": "npz", "path": str(root / f"data/raw/{name}.npz"), "flip": True}
        for name in ("grey28", "colour32")
    }
    params["protocols"]["short"] |= {
        "epochs": 60,
        "networks": 2,
        "exceptions": {"colour32": {"epochs": 5}, "grey28": {"epochs": 20}},
    }
    params["protocols"]["transfer"]["epochs"] = 30
    hallucinated = params["methods"]["mtt-hallucinators"] | {"iterations": 25}
    params["methods"] = {"mtt-hallucinators": hallucinated, "random": {}, "herding": {}, "kcenter": {}, "whole": {}}
    params["experts"]["colour32"] = {
        **{
            "data": "colour32",
            "network": "convnet3",
            "networks": 2,
            "epochs": 2,
            "keep": "all",
            "batch": 256,
            "lr": 0.01,
        },
        **{"momentum": 0.0, "weight_decay": 0.0, "drop": "never", "augment": "color_crop_cutout_flip_scale_rotate"},
        "flat": None,
    }
    few = {"iterations": 4, "objective": {"steps": 5, "lr": 0.01}, "students": {"starts": 1, "span": 1}}
    params["methods"] |= {method: {"iterations": 25} for method in ("mtt", "tesla", "ftd", "haba")}
    params["methods"]["mtt-few"] = {"base": "mtt"} | few
    params["methods"]["haba-few"] = {"base": "haba", "regulariser": {"batch": 8}} | few
    for method, iterations in (("dm", 60), ("dc", 25), ("dsa", 25)):
        params["methods"][method] = {"iterations": iterations}
        params["methods"][f"{method}-short"] = {"base": method, "iterations": 15, "real_batch": 32, "sets": 2}
        params["methods"][f"{method}-few"] = {"base": method, "iterations": 4, "real_batch": 16, "sets": 1}
    params["grid"] = {cell: row(cell, "convnet3_w16") for cell in GREY} | {
        cell: row(cell, "convnet3") for cell in [*COLOUR, *FOLLOWED[-2:]]
    }
    YAML().dump(params, root / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        torch.set_num_threads(1)
        for data in ("digits", "grey28", "colour32"):
            with stages.held:
                prepare.main(data)
        yield config.load()


def measured(project: Config, stage: str, key: str) -> float:
    """Run a stage; the processor seconds that it records."""
    command = {"experts": experts, "distill": distill}.get(stage, evaluate)
    with stages.held:
        command.main(key)
    if stage in ("experts", "distill"):
        name = f"experts.{key}" if stage == "experts" else key
    else:
        name, _ = resolved.of_evaluation(project, key)
    (cost,) = costs.ledger(project.root / costs.place(name)).values()
    assert cost.processor_seconds is not None
    return cost.processor_seconds


@pytest.mark.bench
def test_estimates_are_within_a_factor_of_two(project: Config, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"experts@{buffer}" for buffer in BUFFERS]
    names += [f"{stage}@{cell}" for cell in CELLS for stage in ("distill", "evaluate")] + [f"further@{FURTHER}"]
    found, unknown = demands(project, [Step(name, RUNS) for name in names])
    assert not unknown and {name.partition("@")[0] for name in names} < set(STAGES)
    calibration = Calibration(project.root, "test")
    began = time.process_time()
    calibration.measure([demand.work for demand in found], Bench(torch.device("cpu"), 1, project.root))
    lines = [
        f"calibrated in {time.process_time() - began:.1f} s",
        f"{'':44}{'estimated':>10}{'measured':>10}{'ratio':>8}",
    ]
    wrong, judged = [], 0
    for each in estimate(found, calibration):
        name = each.demand.step.name
        stage, _, key = name.partition("@")
        seconds = measured(project, stage, key)
        assert each.seconds is not None
        start = sum(
            calibration.seconds({call: count}) or 0  # what a stage does before it looks at the clock
            for call, count in each.demand.work.items()
            if call[0].name in ("process", "load", "whiten")
        )
        ratio = (each.seconds - start) / max(seconds, 1e-3)
        lines.append(f"{name:44}{each.seconds - start:10.2f}{seconds:10.2f}{ratio:8.2f}")
        if seconds >= NOTED:
            judged += 1
            wrong += [] if 1 / FACTOR <= ratio <= FACTOR else [name]
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert not wrong and judged >= 20
