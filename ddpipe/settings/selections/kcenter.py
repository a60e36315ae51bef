"""Cover each class with few images."""

from ddpipe.settings.part import Rule


class KCenter(Rule):
    reference = "Sener and Savarese, ICLR 2018"
    embedded = True
