"""Which networks judge the set, by the `name` of their settings. `next` is the paper's inner loop."""

from ddpipe import augmentation, settings
from ddpipe.errors import UserError
from ddpipe.experts.buffer import Buffer
from ddpipe.networks import Classifier
from ddpipe.students.experts import Experts
from ddpipe.students.fresh import Fresh
from ddpipe.students.student import Segment, Student
from ddpipe.students.trained import Trained

__all__ = ["Experts", "Fresh", "Segment", "Student", "Trained", "make"]

Students = Experts | Fresh | Trained


def make(config: settings.Students, network: Classifier, flip: bool, buffer: Buffer | None) -> Students:
    """The students of `config`.

    Args:
        flip: False where a mirrored image would be another class: the students' own augmentation never flips then.
        buffer: finished experts, for students that follow them; UserError without.
    """
    match config:
        case settings.TrainedStudents():
            return Trained(config, network, augmentation.make(config.augment, flip))
        case settings.ExpertStudents():
            if buffer is None:
                raise UserError(
                    "students: 'experts' follow a buffer; name one as the row's needs: data/experts/<buffer>"
                )
            return Experts(config, network, buffer)
        case _:
            return Fresh(network)
