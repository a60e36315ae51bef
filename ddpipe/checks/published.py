"""What the report compares with: the frozen copy of what was published, and the survey's claims, in `ddpipe check`."""

from collections.abc import Iterator

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.publication.frozen import frozen
from ddpipe.report import claimed


def published(config: Config) -> Iterator[str]:
    """One sentence for the first mistake of each file."""
    for read, place in ((frozen, config.root), (claimed.read, config.root / "data" / "published")):
        try:
            read(place)
        except UserError as error:
            yield str(error)
