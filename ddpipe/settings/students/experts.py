"""A stretch of an expert's trajectory, out of the buffer that the row needs."""

from typing import Literal

from ddpipe.settings.bounds import PositiveInt
from ddpipe.settings.part import Students


class ExpertStudents(Students):
    """Two rows of a file are read for each student: no work beside its steps."""

    reference = "MTT (Cazenavette et al., CVPR 2022)"
    gives = frozenset({"segment"})
    reach = "students.starts and students.span"

    name: Literal["experts"]
    starts: PositiveInt  # T+: it begins at snapshot 0, ..., starts - 1
    span: PositiveInt  # M: epochs that it spans

    @property
    def epochs(self) -> int:
        return self.starts - 1 + self.span
