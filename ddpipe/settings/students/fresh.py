"""A new random network every iteration."""

from collections import Counter
from typing import Literal

from ddpipe.settings.part import Students
from ddpipe.settings.work import Cell, Work


class FreshStudents(Students):
    reference = "DM, and DC and DSA at one image per class"

    name: Literal["fresh"]

    def work(self, cell: Cell) -> Work:
        return Counter({(cell.operation("initialise"), 1): cell.chosen.iterations})
