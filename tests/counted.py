"""What tests count of the work that a plan foresees."""

from ddpipe.settings.work import Work


def images(work: Work, operation: str) -> int:
    """Images that all calls of the operations with this name see."""
    return sum(calls * n for (found, n), calls in work.items() if found.name == operation)
