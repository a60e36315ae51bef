"""Resolved settings of a cell of either kind."""

from typing import Annotated

from pydantic import Field

from ddpipe.settings.distillation import Distillation
from ddpipe.settings.selection import Selection

Cell = Annotated[Distillation | Selection, Field(discriminator="kind")]
