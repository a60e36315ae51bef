"""Stage `prepare@<data>`: read a dataset, check it, fit its preprocessing, write data/prepared/<data>."""

from pathlib import Path
from typing import Annotated

import typer

from ddpipe import config
from ddpipe.config import did_you_mean
from ddpipe.datasets.prepared import prepare
from ddpipe.errors import UserError
from ddpipe.progress import say
from stages import run_command


def main(data: Annotated[str, typer.Argument(help="a key of `datasets:` in params.yaml")]) -> None:
    """Read the images of DATA (embedded, from data/raw/DATA, or the user's own), check them, fit the preprocessing.

    Writes data/prepared/DATA: uint8 images, labels, statistics and whitening, with a checksum.
    """
    datasets = config.load().params.datasets
    if data not in datasets:
        raise UserError(f"datasets.{data}: no such entry in params.yaml{did_you_mean(data, list(datasets))}")
    prepared = prepare(data, datasets[data], Path("data/raw") / data)
    prepared.save(Path("data/prepared") / data)
    side = prepared.resolution
    train, test = len(prepared.train_labels), len(prepared.test_labels)
    shape = f"{prepared.channels}x{side}x{side}"
    say(f"{data}: {train} training and {test} test images of {shape}, {len(prepared.classes)} classes")


if __name__ == "__main__":
    run_command(main)
