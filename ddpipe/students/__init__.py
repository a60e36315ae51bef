"""Which networks judge the set: a module for each record in ddpipe/settings/students."""

from ddpipe.students.student import Segment, Student, Students

__all__ = ["Segment", "Student", "Students"]
