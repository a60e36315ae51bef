"""All images."""

from ddpipe.settings.part import Rule


class Whole(Rule):
    reference = "The upper bound of the survey's tables"
    whole = True
