"""Which networks judge the set, by the `name` of their settings. `next` is the paper's inner loop."""

from ddpipe import augment, settings
from ddpipe.networks import Classifier
from ddpipe.students.fresh import Fresh
from ddpipe.students.student import Student
from ddpipe.students.trained import Trained

__all__ = ["Fresh", "Student", "Trained", "make"]


def make(config: settings.FreshStudents | settings.TrainedStudents, network: Classifier, flip: bool) -> Fresh | Trained:
    """`flip` False: a mirrored image would be another class, so the students' own augmentation never flips."""
    if isinstance(config, settings.TrainedStudents):
        return Trained(config, network, augment.make(config.augment, flip))
    return Fresh(network)
