"""Recipes: published methods as data."""

from ddpipe.settings.base import Settings
from ddpipe.settings.names import Name


class Recipe(Settings):
    """A published method as data: `ddpipe/methods/<name>.yaml`, under the method's name."""

    paper: str
    code: str | None = None  # the official repository
    protocol: str  # the authors' evaluation protocol: published values are compared with results under it
    tables: dict[int, str] = {}  # protocol of the survey's tables that others than the authors measured (3, 4)
    notes: tuple[str, ...] = ()  # choices where paper, survey and code disagree
    unverified: dict[str, str] = {}  # cells whose numbers nobody published: what they were taken from
    parts: dict  # composition and default numbers; tracked by DVC
    cells: dict[Name, dict]  # published deviations per <dataset>-<ipc>, and `default`; tracked by DVC
