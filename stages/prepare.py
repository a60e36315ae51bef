"""Stages `prepare@<data>` and `own@<data>`: read a dataset, check it, fit its preprocessing, write it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ddpipe import config
from ddpipe.checks.own import misplaced
from ddpipe.datasets.prepared import prepare
from ddpipe.datasets.survey import kinds, notes, refusals, survey
from ddpipe.errors import UserError
from ddpipe.progress import say
from ddpipe.report.overview import overview, write
from ddpipe.settings.reading import did_you_mean
from stages import claim, key_of, run_command


def main(data: Annotated[str, typer.Argument(help="a key of `datasets:` or `own:` in params.yaml")]) -> None:
    """Read the images of DATA, check them, fit the preprocessing.

    Downloaded files lie in data/raw/DATA if that folder exists, else in data/raw/<source>: prepared forms of one source
    share them. Writes data/prepared/DATA: uint8 images, labels, statistics and whitening, with a checksum; of images of
    your own also data/overview/DATA: how many there are of each class, how they were read, and a picture of some.
    """
    datasets, data = config.load().params.datasets, key_of("prepare", "own", address=data)
    if data not in datasets:
        raise UserError(f"datasets.{data}: no such entry in params.yaml{did_you_mean(data, list(datasets))}")
    settings, raw, folder = datasets[data], Path("data/raw"), Path("data/prepared") / data
    if settings.path and settings.table != "own" and "DVC_STAGE" in os.environ:
        raise UserError(misplaced(data))
    looks, own = [Path("data/overview") / data] if settings.table == "own" else [], raw / data
    claim(f"prepare@{data}", [folder, *looks])
    found = survey(data, settings) if settings.path else None
    for sentence in refusals(found) if found else ():
        raise UserError(sentence)
    about = prepare(data, settings, own if own.is_dir() else raw / settings.source, folder)
    text = overview(about, folder, (*kinds(found), *notes(found)) if found else ())
    say(text)
    for place in looks:
        write(place, text, about, folder)


if __name__ == "__main__":
    run_command(main)
