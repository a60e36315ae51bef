"""That the parts of a cell fit together: what `distill.compose` refuses, said before anything runs, without torch."""

from collections.abc import Iterator

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError


def parts(config: Config) -> Iterator[str]:
    """One sentence a mistake; cells that do not resolve are left to `check.rows`."""
    for cell, row in config.rows.items():
        try:
            resolved = config.resolved(cell)
        except UserError:
            continue
        if isinstance(resolved, settings.Distillation):
            for mistake in misfits(resolved):
                yield f"methods.{row.method} ({cell}): {mistake}"


def misfits(chosen: settings.Distillation) -> Iterator[str]:
    """Why these parts cannot work together."""
    follows = isinstance(chosen.objective, settings.TrajectoryMatching)
    if follows != isinstance(chosen.students, settings.ExpertStudents):
        wanted = "needs the trajectories of students 'experts'" if follows else "needs networks with weights"
        yield f"students: objective {chosen.objective.name!r} {wanted}, not {chosen.students.name!r}"
    if chosen.regulariser is not None and chosen.synthetic.styles < 2:
        yield (
            f"regulariser: {chosen.regulariser.name!r} compares a base in two styles, but synthetic "
            f"{chosen.synthetic.name!r} shows each in one; choose two hallucinators or more, or regulariser: null"
        )
    learned = chosen.synthetic.learned | chosen.objective.learned
    if chosen.outer.keys() != learned:
        yield (
            f"outer: has {sorted(chosen.outer)}, but what is learned is {sorted(learned)}; name exactly these (null "
            "takes an inherited one out)"
        )
