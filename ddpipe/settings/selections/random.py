"""Random images of each class."""

from ddpipe.settings.part import Rule


class Random(Rule):
    reference = "The survey's baseline"
