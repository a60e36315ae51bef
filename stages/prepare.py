"""Stage `prepare@<data>`: read a dataset, check it, fit its preprocessing, write data/prepared/<data>."""

from pathlib import Path
from typing import Annotated

import typer

from ddpipe import config
from ddpipe.config import did_you_mean
from ddpipe.datasets.prepared import prepare
from ddpipe.errors import UserError
from ddpipe.progress import say
from stages import claim, key_of, run_command


def main(data: Annotated[str, typer.Argument(help="a key of `datasets:` in params.yaml")]) -> None:
    """Read the images of DATA, check them, fit the preprocessing.

    Downloaded files lie in data/raw/DATA if that folder exists, else in data/raw/<source>: prepared forms of one source
    share them. Writes data/prepared/DATA: uint8 images, labels, statistics and whitening, with a checksum.
    """
    datasets, data = config.load().params.datasets, key_of("prepare", address=data)
    if data not in datasets:
        raise UserError(f"datasets.{data}: no such entry in params.yaml{did_you_mean(data, list(datasets))}")
    settings, raw, folder = datasets[data], Path("data/raw"), Path("data/prepared") / data
    claim(f"prepare@{data}", [folder])
    own = raw / data
    about = prepare(data, settings, own if own.is_dir() else raw / settings.source, folder)
    shape, images = "x".join(map(str, about["shape"])), about["images"]
    counts = f"{images['train']} training and {images['test']} test images"
    say(f"{data}: {counts} of {shape}, {len(about['classes'])} classes")


if __name__ == "__main__":
    run_command(main)
