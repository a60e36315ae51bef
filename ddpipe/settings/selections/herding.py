"""Keep the mean of the chosen near the class's."""

from ddpipe.settings.part import Rule


class Herding(Rule):
    reference = "Welling, ICML 2009"
    embedded = True
