"""A block of settings: frozen, validated, each choice named. No torch in this package.

Numbers are finite; unknown keys are refused (config.py turns every refusal into a sentence that names the key).
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ddpipe.errors import UserError
from ddpipe.settings import strategy
from ddpipe.settings.bounds import Few


def _known_operations(augment: str) -> str:
    try:
        strategy.operations(augment)
    except UserError as error:
        raise ValueError(str(error)) from None  # the only kind of error that pydantic gives a key
    return augment


def _everywhere(augment: str) -> str:
    if augment.startswith(strategy.REFLECT):
        raise ValueError(f"{strategy.REFLECT} is for an objective's real images only: exported programs do not know it")
    return augment


def _differentiable(augment: str) -> str:
    if augment.startswith(strategy.OLDER):
        raise ValueError(f"{strategy.OLDER} is for protocols and experts only: no gradient passes through it")
    return augment


Layers = Annotated[tuple[Few, ...], Field(min_length=1)]  # one number a stage of a network
RealAugmentation = Annotated[str, AfterValidator(_known_operations)]  # "none", or operations as in strategy.py
Augmentation = Annotated[RealAugmentation, AfterValidator(_everywhere)]
Siamese = Annotated[Augmentation, AfterValidator(_differentiable)]


FILE = object()  # the context in which config.py validates what files say
UNSTATED = "unstated"  # the type of pydantic's error for a key that a file must name


class Settings(BaseModel):
    """A block of settings. Read from a file (context FILE) it must name the keys of `stated`: what only looks like a
    choice nobody made, because its line got lost, would change results in silence. Their defaults are for programs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    quiet: ClassVar[frozenset[str]] = frozenset()  # a dump has them only where chosen: digests outlive them
    # keys that change no number, or only how often one is taken: whoever differs in them alone ran the same
    aside: ClassVar[frozenset[str]] = frozenset({"revision", "chunk"})

    def stated(self) -> dict[str, str]:
        """The keys that a file must name, each with what there is to say about it."""
        return {}

    @model_validator(mode="after")
    def names_its_choices(self, info: ValidationInfo) -> Self:
        if info.context is not FILE:
            return self
        lacking = {key: about for key, about in self.stated().items() if key not in self.model_fields_set}
        for key, about in lacking.items():
            plain = [other for other, said in lacking.items() if said == missing() and other != key]
            told = missing(plain) if about == missing() else about
            raise PydanticCustomError(UNSTATED, "{about}", {"key": key, "about": told})
        return self

    @model_serializer(mode="wrap")
    def less_the_quiet(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped = handler(self)
        return {key: value for key, value in dumped.items() if key in self.model_fields_set or key not in self.quiet}


def missing(others: Sequence[str] = (), why: str = "") -> str:
    """What there is to say about a key that is not there, nor are these others beside it."""
    if not others:
        return f"this key is missing{why}; add it"
    return f"this key is missing{why}, and so {'are' if len(others) > 1 else 'is'} {', '.join(others)}; add them"


def needed(*keys: str) -> dict[str, str]:
    """`stated` for numbers without which nobody knows what was run."""
    return dict.fromkeys(keys, missing())
