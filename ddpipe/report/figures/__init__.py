"""The figures of a report, a module a figure. matplotlib is imported by what draws with it."""

from ddpipe.report.figures.style import Style, looks

__all__ = ["Style", "looks"]
