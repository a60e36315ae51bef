"""Kinds of evaluation protocol (`protocols:` of params.yaml), a record a module: found here, listed nowhere."""

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Discriminator, Tag

from ddpipe.settings.protocol import Protocol

PLAIN = "trained"  # the kind of a protocol that names none


def records() -> dict[str, type[Protocol]]:
    """kind -> record."""
    found = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        inside = vars(import_module(f"{__name__}.{name}")).values()
        (found[name],) = [
            own
            for own in inside
            if isinstance(own, type) and issubclass(own, Protocol) and own.__module__ == f"{__name__}.{name}"
        ]
    return found


def _kind(value: Any) -> Any:
    return value.get("kind", PLAIN) if isinstance(value, dict) else getattr(value, "kind", None)


if TYPE_CHECKING:
    AnyProtocol = Protocol
else:
    _kinds = tuple(Annotated[record, Tag(kind)] for kind, record in records().items())
    _told = f"kind must be one of {', '.join(records())}"
    _kind_of = Discriminator(_kind, custom_error_type="union_tag", custom_error_message=_told)
    AnyProtocol = Annotated[Union[_kinds], _kind_of]  # noqa: UP007
