"""Words of params.yaml and the recipes that become parts of paths, of DVC's stages and parameters, and of commands."""

import re
from typing import Annotated

from pydantic import AfterValidator

NAME = r"[a-z0-9][a-z0-9_-]{0,63}"
TRAINED = {"experts": "buffer", "generators": "generator"}  # stages that rows may need; an entry of each, in words
WRITERS = {  # folder of data/ -> the stage that writes what lies in it; images of the user's own are DVC's stage `own`
    **{"prepared": "prepare", "overview": "prepare", "distilled": "distill"},
    **{stage: stage for stage in TRAINED},
}


def name(word: str) -> str:
    """A word that means nothing to a shell, a file system or DVC; ValueError for any other."""
    if not re.fullmatch(NAME, word):
        raise ValueError(
            f"{word[:64]!r} is no name: a name has only the characters a-z, 0-9, _ and -, begins with a letter or a "
            "digit, and has at most 64 characters; rename it"
        )
    return word


def needs(path: str) -> str:
    """The folder of prepared data, of an expert buffer or of a generator."""
    if not re.fullmatch(f"data/({'|'.join(['prepared', *TRAINED])})/{NAME}", path):
        folders = " or ".join(f"data/{stage}/<{entry}>" for stage, entry in TRAINED.items())
        raise ValueError(f"must be data/prepared/<data> or {folders}, not {path[:64]!r}")
    return path


Name = Annotated[str, AfterValidator(name)]
Needs = Annotated[str, AfterValidator(needs)]
