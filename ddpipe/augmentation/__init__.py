"""Augmentations of images (survey section 4.1), by the words of a setting `augment` (ddpipe/settings/strategy.py)."""

from ddpipe.augmentation.composed import ComposedAugment
from ddpipe.augmentation.milder import MilderAugment
from ddpipe.augmentation.older import OlderAugment
from ddpipe.augmentation.reflected import ReflectedAugment
from ddpipe.augmentation.siamese import Augment, Policy
from ddpipe.settings.strategy import FREPO, IDC, OLDER, REFLECT

__all__ = ["Policy", "make"]


def make(strategy: str, flip: bool = True) -> Policy:
    """The policy that `augment` names by its first word: DC's, IDC's, DD's or FRePo's; without one it is DSA's."""
    if strategy.startswith(OLDER):
        return OlderAugment(strategy)
    if strategy.startswith(IDC):
        return ComposedAugment(strategy, flip)
    if strategy.startswith(FREPO):
        return MilderAugment(strategy, flip)
    if strategy.startswith(REFLECT):
        return ReflectedAugment(strategy, flip)
    return Augment(strategy, flip)
