"""Augmentations of images (survey section 4.1), by the words of a setting `augment` (ddpipe/settings/strategy.py)."""

from ddpipe.augmentation.composed import ComposedAugment
from ddpipe.augmentation.older import OlderAugment
from ddpipe.augmentation.reflected import ReflectedAugment
from ddpipe.augmentation.siamese import Augment, Policy
from ddpipe.settings.strategy import IDC, OLDER, REFLECT

__all__ = ["Policy", "make"]


def make(strategy: str, flip: bool = True) -> Policy:
    """The policy that `augment` names: "older:..." is DC's, "idc:..." IDC's, "reflect:..." DD's, all else DSA's."""
    if strategy.startswith(OLDER):
        return OlderAugment(strategy)
    if strategy.startswith(IDC):
        return ComposedAugment(strategy, flip)
    if strategy.startswith(REFLECT):
        return ReflectedAugment(strategy, flip)
    return Augment(strategy, flip)
