"""That every class has the images that cells take of it: known before anything is prepared for published sources."""

from collections.abc import Iterator

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError

SMALLEST = {  # training images of the smallest class of a source
    **{"digits": 128, "mnist": 5421, "fashionmnist": 6000, "svhn": 4659, "cifar10": 5000},
    **{"cifar100": 500, "tinyimagenet": 500, "imagenet64": 732},
}


def classes(config: Config) -> Iterator[str]:
    """One sentence a mistake. Where data are prepared, `check_data` says the same of their IPC from the labels."""
    for cell, row in config.rows.items():
        data = config.params.datasets.get(row.data)
        if data is None or row.ipc == "all" or data.source not in SMALLEST or data.classes is not None:
            continue
        try:
            resolved = config.resolved(cell)
        except UserError:
            continue
        count, key = row.ipc, f"grid.{cell}.ipc"
        synthetic = resolved.synthetic if isinstance(resolved, settings.Distillation) else None
        if isinstance(synthetic, settings.Hallucinator) and synthetic.bases is not None:
            count, key = synthetic.bases, f"methods.{row.method} ({cell}): synthetic.bases"
        if count > SMALLEST[data.source]:
            most = SMALLEST[data.source]
            yield f"{key}: {count}, but the smallest class of {row.data} has {most} training images; use at most {most}"
