"""What the user can do when new networks cannot come to know a set."""

from collections.abc import Mapping

from torch import Tensor

from ddpipe import settings
from ddpipe.errors import UserError, out_of_memory
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.examination import Examination
from ddpipe.training.loop import Diverged

KEPT = "finished networks are kept"


def check(examination: Examination, hints: Mapping[str, Tensor], examples: int, key: str, where: str) -> None:
    """Whether the set called `where`, of so many examples, can be used with its hints under the protocol at `key`.

    Raises:
        UserError: it cannot.
    """
    try:
        examination.rule.check(hints, examples, where)
    except UserError as error:
        raise UserError(f"{key}.{error}") from error


def explanation(
    error: BaseException, examination: Examination, key: str, where: str, data: TrainingSet, together: int
) -> str | None:
    """What to do about `error`, met while `together` networks came to know the set called `where`; None: nobody knows.

    Args:
        key: of the protocol.
    """
    rules: settings.Protocol = examination.protocol
    if isinstance(error, Diverged):
        return f"{key}.{examination.rule.diverged(error, data, where)}"
    if not out_of_memory(error):
        return None
    if together > 1:
        return f"run.together: out of memory with {together} networks at once; set it to {together // 2}, {KEPT}"
    told, images = "out of memory with one network", min(rules.batched or 1, data.n)
    if images == 1:
        alone = " and one image at once" if rules.batched else ""
        return f"{key}: {told}{alone}; evaluate with a smaller network, {KEPT}"
    return f"{key}.{rules.batching}: {told} and {images} images at once; set it to {images // 2}, {KEPT}"
